package schema

// lineFields are those of a line that is known and has no table of its own.
var lineFields = []Field{
	{Number: 32, Name: "log", Type: Word, Doc: "log that it is of: smtp, delivery, spamdyke"},
	{Number: 33, Name: "program", Type: Word, Doc: "program that wrote it: qmail-send, spamdyke, ..."},
	{Number: 34, Name: "level", Type: Word, Doc: "error, warning, alert, info, debug"},
	{Number: 35, Name: "key", Type: Word, Doc: "what the line is about: status, FILTER_RBL_MATCH, an unknown key of the SMTP log"},
	{Number: 36, Name: "text", Type: Text, Doc: "the rest of the line"},
}
