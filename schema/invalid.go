package schema

// Invalid is what makes a message count as one of an invalid address: each of the words that
// is given, in one spelling.
type Invalid struct{ Status, Class, SubClass string }

// DefaultInvalidSenders go by words that name the fault. The words of sub_class are an open
// set.
var DefaultInvalidSenders = []Invalid{
	{SubClass: "invalid-sender"}, {SubClass: "unknown-sender"}, {SubClass: "sender-invalid"}, {SubClass: "sender-unknown"}, {SubClass: "sender-verify"}, {SubClass: "sender-verification"},
}
