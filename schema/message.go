package schema

// messageFields are the fields of both generations of message templates: the
// 2016 set (classification...) and today's (main_class...).
var messageFields = []Field{
	{Number: 32, Name: "id", Type: Text, Doc: "Exim message id; empty for a connection that was refused before DATA"},
	{Number: 33, Name: "filtering_host", Type: Word, Doc: "node of the filter that handled it"},
	{Number: 34, Name: "domain", Type: Text, Doc: "filtered or authenticated domain, lower case"},
	{Number: 35, Name: "sender", Type: Text, Doc: "envelope sender; empty is the null sender of a bounce"},
	{Number: 36, Name: "recipient", Type: Text, Doc: "envelope recipient"},
	{Number: 37, Name: "timestamp", Type: Millis, Codec: "Delta, Default", Doc: "when the filter handled it, as the filter says"},
	{Number: 38, Name: "sender_host", Type: Text, Doc: "reverse DNS name of the client"},
	{Number: 39, Name: "sender_ip", Type: IP, Doc: "address of the client"},
	{Number: 40, Name: "sender_location", Type: Word, Doc: "country of the client"},
	{Number: 41, Name: "helo", Type: Text, Doc: "HELO or EHLO name"},
	{Number: 42, Name: "incoming_size", Type: UInt64, Doc: "bytes received"},
	{Number: 43, Name: "outgoing_size", Type: UInt64, Doc: "bytes sent on"},
	{Number: 44, Name: "bandwidth", Type: UInt64, Doc: "bytes billed"},
	{Number: 45, Name: "from_header", Type: Text, Doc: "From header"},
	{Number: 46, Name: "to_header", Type: Text, Doc: "To header"},
	{Number: 47, Name: "cc_header", Type: Text, Doc: "Cc header"},
	{Number: 48, Name: "subject_header", Type: Text, Doc: "Subject header"},
	{Number: 49, Name: "status", Type: Word, Doc: "status word as the filter wrote it"},
	{Number: 50, Name: "status_norm", Type: Word, Doc: "status in one spelling: delivered, quarantined, rejected, queued, ..."},
	{Number: 51, Name: "classification", Type: Text, Doc: "2016 templates: text, translated by the source; never a key"},
	{Number: 52, Name: "classification_details", Type: Text, Doc: "2016 templates: detail text"},
	{Number: 53, Name: "classification_code", Type: Word, Doc: "2016 templates: code word"},
	{Number: 54, Name: "main_class", Type: Word, Doc: "class word as the filter wrote it"},
	{Number: 55, Name: "sub_class", Type: Word, Doc: "what decided: dnsbl, statistical-method1-cluster, ..."},
	{Number: 56, Name: "extra_class", Type: Text, Doc: "detail of sub_class: a score, a rule, a list"},
	{Number: 57, Name: "class_norm", Type: Word, Doc: "class in one spelling: spam, not-spam, phish, virus, block-list, ..."},
	{Number: 58, Name: "auth_user", Type: Text, Doc: "authenticated user of outgoing mail"},
	{Number: 59, Name: "identity", Type: Text, Doc: "identity of the sender of outgoing mail, from the identification header"},
}
