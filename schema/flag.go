package schema

// Flag is one thing that a decoder forgave. Flags are a bit set in an Event and
// words in the record and in the column `flags`.
type Flag uint64

// The flags.
const (
	FlagNoPRI             Flag = 1 << iota // the frame had no <PRI>: user.notice is assumed
	FlagBadPRI                             // <PRI> was there and not a priority: facility and severity are 0
	FlagBOM                                // a byte order mark was removed
	FlagNoTrailer                          // input ended before the frame's delimiter came
	FlagAmbiguous                          // values hold the separator; see docs/design.md for where it was cut
	FlagBadUTF8                            // text was not UTF-8: U+FFFD stands for the bytes, raw has them
	FlagNULByte                            // text held a NUL: U+FFFD stands for it
	FlagBadInt                             // a number did not parse
	FlagBadIP                              // an address did not parse
	FlagBadTime                            // a time did not parse
	FlagBadID                              // id is not an Exim id: id_time is the event's time
	FlagTZGuess                            // a time had no zone: its offset was derived from the id's time
	FlagLeapSecond                         // second 60 was read as 59
	FlagBadHeaderTime                      // the syslog header's time did not parse
	FlagNoneText                           // a free text was exactly None and was left empty
	FlagBadStructuredData                  // RFC 5424 structured data did not parse
	FlagIncomplete                         // lines of the event are missing, cut, or stand among others
	FlagTZRepeated                         // the hour is one that the end of summer time repeats: the file's order decided
	FlagTZGap                              // the hour is one that summer time leaves out
	FlagSenderInferred                     // the sender is of the likeliest message, and another was possible
	FlagBadHeader                          // a line of a mail's header, or an encoded word in it, did not parse
	FlagCut                                // a value, or raw, was longer than a record holds: its beginning is there
	FlagNoBoundary                         // a MIME message ended without the boundary that closes it
	FlagBadMIME                            // a MIME part's header or encoding, or a field of a report, was malformed
	FlagBareCR                             // lines ended with a lone CR
	FlagMisnamedPart                       // a part of a report had another media type than RFC 5965 gives it
	FlagNoReportPart                       // an original message came without the part that reports it
	FlagMissingField                       // a report lacks a field that RFC 5965 demands
	FlagRepeatedField                      // a report has a field, or a part, more often than it may: the first counts
	flagEnd
)

var flagWords = [...]string{
	"no_pri", "bad_pri", "bom", "no_trailer", "ambiguous", "bad_utf8", "nul_byte", "bad_int", "bad_ip", "bad_time", "bad_id",
	"tz_guess", "leap_second", "bad_header_time", "none_text", "bad_structured_data",
	"incomplete", "tz_repeated", "tz_gap", "sender_inferred", "bad_header",
	"cut", "no_boundary", "bad_mime", "bare_cr", "misnamed_part", "no_report_part", "missing_field", "repeated_field",
}

// flagDocs has the same order.
var flagDocs = [...]string{
	"the frame had no `<PRI>`; user.notice (13) is assumed",
	"`<PRI>` was there and not a priority; facility and severity are 0",
	"a byte order mark was removed",
	"input ended before the frame's delimiter came",
	"values hold the separator; docs/design.md says where it was cut",
	"text was not UTF-8; U+FFFD stands for the bytes, `raw` has them",
	"text held a NUL; U+FFFD stands for it",
	"a number did not parse; the field is named in `bad_fields`",
	"an address did not parse; the field is named in `bad_fields`",
	"a time did not parse; the field is named in `bad_fields`",
	"`id` is not an Exim id; `id_time` is the event's time",
	"a time had no zone; its offset was derived from the id's time",
	"second 60 was read as 59",
	"the syslog header's time did not parse",
	"a free text was exactly `None` and was left empty",
	"RFC 5424 structured data did not parse",
	"lines of the event are missing, were cut, or stood among others",
	"the event's hour is one that the end of summer time repeats; the order of the file decided which",
	"the event's hour is one that the begin of summer time leaves out; the zone may be wrong",
	"the sender is that of the likeliest message, and another was possible",
	"a line of a mail's header, or an encoded word in it, did not parse; `raw` has it",
	"a value, or `raw`, was longer than a record holds (`kafka.batch_bytes`); its beginning is there",
	"a MIME message ended without the boundary that closes it: it was cut, or its sender leaves it out",
	"a MIME part's header or encoding, or a field of a report, was malformed; what could be read is there",
	"the message's lines ended with a lone CR",
	"a part of the report has another media type than RFC 5965 gives it",
	"the message has an original and no part that reports it: it is taken for a complaint, its type is not known",
	"a report lacks Feedback-Type, User-Agent or Version",
	"a report has a field or a part more often than it may; the first counts, further fields are in `extra`",
}

// Words are the names of the flags in the set, in a fixed order.
func (f Flag) Words() []string {
	var words []string
	for i, w := range flagWords {
		if f&(1<<i) != 0 {
			words = append(words, w)
		}
	}
	return words
}
