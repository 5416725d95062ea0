package format

import "millrace/schema"

// The built-in templates. m1 and s1 are the ones in the source's documentation
// of 2016, m2 is today's example; m3 and s3 are what we recommend: a tag first
// and an end mark last, so that a cut frame is known to be cut, constrained
// columns first and text that a stranger wrote last. s2 is s1 with the column
// delivery_interface where s3 has it, before all free text.
const (
	textM1 = `"%(id)s","%(filtering_host)s","%(sender)s","%(recipient)s","%(domain)s","%(timestamp)s","%(sender_host)s","%(helo)s","%(sender_ip)s","%(incoming_size)s","%(outgoing_size)s","%(status)s","%(classification)s","%(classification_details)s","%(from_header)s","%(to_header)s","%(cc_header)s","%(subject_header)s"`
	textS1 = `"%(id)s","%(filtering_host)s","%(domain)s","%(recipient)s","%(status)s","%(delivery_date)s","%(delivery_ip)s","%(delivery_port)s","%(delivery_fqdn)s","%(delivery_data)s"`
	textM2 = `"%(id)s","%(filtering_host)s","%(sender)s","%(recipient)s","%(domain)s","%(timestamp)s","%(sender_host)s","%(helo)s","%(sender_ip)s","%(incoming_size)s","%(outgoing_size)s","%(status)s","%(from_header)s","%(to_header)s","%(cc_header)s","%(subject_header)s"`
	textS2 = `"%(id)s","%(filtering_host)s","%(domain)s","%(recipient)s","%(status)s","%(delivery_date)s","%(delivery_ip)s","%(delivery_port)s","%(delivery_interface)s","%(delivery_fqdn)s","%(delivery_data)s"`
	textM3 = `"sx-m3","%(id)s","%(filtering_host)s","%(timestamp)s","%(domain)s","%(sender_ip)s","%(sender_location)s","%(incoming_size)s","%(outgoing_size)s","%(bandwidth)s","%(status)s","%(main_class)s","%(sub_class)s","%(extra_class)s","%(auth_user)s","%(identity)s","%(sender_host)s","%(helo)s","%(sender)s","%(recipient)s","%(from_header)s","%(to_header)s","%(cc_header)s","%(subject_header)s","sx-end"`
	textS3 = `"sx-s3","%(id)s","%(filtering_host)s","%(delivery_date)s","%(domain)s","%(recipient)s","%(status)s","%(delivery_ip)s","%(delivery_port)s","%(delivery_interface)s","%(delivery_fqdn)s","%(delivery_data)s","sx-end"`
)

var builtins = []*Format{
	{Name: "m1", Kind: schema.Message, Template: mustCompile(textM1)},
	{Name: "s1", Kind: schema.Status, Template: mustCompile(textS1)},
	{Name: "m2", Kind: schema.Message, Template: mustCompile(textM2)},
	{Name: "s2", Kind: schema.Status, Template: mustCompile(textS2)},
	{Name: "m3", Kind: schema.Message, Template: mustCompile(textM3)},
	{Name: "s3", Kind: schema.Status, Template: mustCompile(textS3)},
}

// Builtin are the built-in formats m1, s1, m2, s2, m3, s3.
func Builtin() []*Format { return append([]*Format(nil), builtins...) }

func mustCompile(text string) *Template {
	t, err := Compile(text)
	if err != nil {
		panic("BUG: built-in template: " + err.Error())
	}
	return t
}
