package schema

// statusFields are the fields of the status templates.
var statusFields = []Field{
	{Number: 32, Name: "id", Type: Text, Doc: "Exim message id"},
	{Number: 33, Name: "filtering_host", Type: Word, Doc: "node of the filter that handled it"},
	{Number: 34, Name: "domain", Type: Text, Doc: "filtered or authenticated domain, lower case"},
	{Number: 35, Name: "recipient", Type: Text, Doc: "envelope recipient"},
	{Number: 36, Name: "status", Type: Word, Doc: "status word as the filter wrote it"},
	{Number: 37, Name: "status_norm", Type: Word, Doc: "status in one spelling: delivered, quarantined, rejected, queued, ..."},
	{Number: 38, Name: "delivery_date", Type: Millis, Codec: "Delta, Default", Doc: "when the status changed, as the filter says"},
	{Number: 39, Name: "delivery_ip", Type: IP, Doc: "address it was delivered to"},
	{Number: 40, Name: "delivery_port", Type: UInt16, Doc: "port it was delivered to"},
	{Number: 41, Name: "delivery_fqdn", Type: Text, Doc: "host it was delivered to"},
	{Number: 42, Name: "delivery_interface", Type: Text, Doc: "local address it was sent from"},
	{Number: 43, Name: "delivery_data", Type: Text, Doc: "the remote server's reply"},
}

// rejectFields are what is known of a frame that matched nothing. Its bytes are
// in raw.
var rejectFields = []Field{
	{Number: 32, Name: "reason", Type: Word, Doc: "why, one of docs/errors.md"},
	{Number: 33, Name: "detail", Type: Text, Doc: "the reason in words, with the values that decided"},
	{Number: 34, Name: "frame_bytes", Type: UInt64, Doc: "length of the frame; raw holds the first KiB of one that was too long"},
}
