package schema

// quarantineFields are those of a message in the filter's quarantine, read over IMAP. From
// from_header to auth_email they are the columns of retrieve_quarantine_info.py, in its order.
var quarantineFields = []Field{
	{Number: 32, Name: "domain", Type: Text, Doc: "domain that it is about, lower case: of outgoing mail that of auth_sender, auth_email, auth_user or From, the first that has one; of incoming mail To's"},
	{Number: 33, Name: "from_header", Type: Text, Doc: "From"},
	{Number: 34, Name: "to_header", Type: Text, Doc: "To"},
	{Number: 35, Name: "reply_to_header", Type: Text, Doc: "Reply-To"},
	{Number: 36, Name: "qmail_uid", Type: Text, Doc: "U of a Received header's `(qmail PID invoked by uid U)`"},
	{Number: 37, Name: "invoked_for", Type: Text, Doc: "who qmail was invoked for, as a Received header says"},
	{Number: 38, Name: "client", Type: Text, Doc: "IP/Username: address or user that handed the message to the filter"},
	{Number: 39, Name: "evidence", Type: Text, Doc: "why the filter keeps it"},
	{Number: 40, Name: "php_script", Type: Text, Doc: "script that sent it, as PHP tells"},
	{Number: 41, Name: "auth_sender", Type: Text, Doc: "Auth.sender: sender that was authenticated"},
	{Number: 42, Name: "auth_user", Type: Text, Doc: "Auth-User"},
	{Number: 43, Name: "auth_email", Type: Text, Doc: "Auth-Email"},
	{Number: 44, Name: "subject_header", Type: Text, Doc: "Subject"},
	{Number: 45, Name: "message_id", Type: Text, Doc: "Message-ID, without brackets"},
	{Number: 46, Name: "id", Type: Text, Doc: "Exim's id, of the newest Received header that has one: messages and statuses have the same"},
	{Number: 47, Name: "size", Type: UInt64, Doc: "bytes of the message"},
	{Number: 48, Name: "folder", Type: Word, Doc: "mailbox that it is in"},
	{Number: 49, Name: "uid_validity", Type: UInt64, Doc: "the mailbox's UIDVALIDITY (RFC 3501)"},
	{Number: 50, Name: "uid", Type: UInt64, Doc: "the message's UID in it"},
	{Number: 51, Name: "server", Type: Word, Doc: "IMAP server that was asked, as configured; with account, folder, uid_validity and uid it is the message's key"},
	{Number: 52, Name: "account", Type: Word, Doc: "user that the server was asked as"},
}
