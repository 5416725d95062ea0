package format_test

import (
	"fmt"
	"time"

	"millrace/ingester/format"
	"millrace/schema"
)

// A template as it was given to the source's API.
func ExampleCompile() {
	t, err := format.Compile(`"%(id)s","%(sender_ip)s","%(subject_header)s" 100%%`)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(t.Variables())
	values := map[string]string{"id": "1phfsb-0004M4-O4", "sender_ip": "192.0.2.1", "subject_header": `He said "hi", ok`}
	fmt.Printf("%s\n", t.Append(nil, func(name string) []byte { return []byte(values[name]) }))

	_, err = format.Compile(`%(id)s%(sender_ip)s`)
	fmt.Println(err)
	// Output:
	// [id sender_ip subject_header]
	// "1phfsb-0004M4-O4","192.0.2.1","He said "hi", ok" 100%
	// bad template: column 7: nothing stands between the variables "id" and "sender_ip": no frame could tell where one ends; put a literal between them
}

// Two formats, whose frames are told apart by their number of values.
func ExampleDecoder_Decode() {
	message, err := format.Compile(`"%(id)s","%(sender_ip)s","%(incoming_size)s","%(subject_header)s"`)
	if err != nil {
		fmt.Println(err)
		return
	}
	status, err := format.Compile(`"%(id)s","%(status)s","%(delivery_date)s"`)
	if err != nil {
		fmt.Println(err)
		return
	}
	set, err := format.NewSet([]*format.Format{
		{Name: "in", Kind: schema.Message, Template: message},
		{Name: "out", Kind: schema.Status, Template: status},
	}, format.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	var d format.Decoder
	var e schema.Event
	now := format.Context{Received: time.Now().UnixMilli()}
	for _, body := range []string{
		`"1phfsb-0004M4-O4","2001:db8::1","23533","He said "hi", ok"`,
		`"1phfsb-0004M4-O4","Delivered","2023-03-30 00:11:08"`,
		`"1phfsb-0004M4-O4","192.0.2.1","None","a","b"`,
		`"1phfsb-0004M4-O4","192.0.2.1`,
	} {
		v := d.Decode(set, []byte(body), &e, now)
		if v.Reason != "" {
			fmt.Printf("%s: %s\n", v.Reason, v.Detail)
			continue
		}
		fmt.Printf("%s of format %s, flags %q\n", e.Kind.Name, v.Format.Name, e.Flagged().Words())
		for _, name := range v.Format.Template.Variables() {
			fmt.Printf("\t%s = %q\n", name, format.Text(&e, e.Kind.Index(name)))
		}
	}
	// Output:
	// message of format in, flags []
	// 	id = "1phfsb-0004M4-O4"
	// 	sender_ip = "2001:db8::1"
	// 	incoming_size = "23533"
	// 	subject_header = "He said \"hi\", ok"
	// status of format out, flags ["tz_guess"]
	// 	id = "1phfsb-0004M4-O4"
	// 	status = "Delivered"
	// 	delivery_date = "2023-03-30 00:11:08.000"
	// message of format in, flags ["ambiguous"]
	// 	id = "1phfsb-0004M4-O4"
	// 	sender_ip = "192.0.2.1"
	// 	incoming_size = ""
	// 	subject_header = "a\",\"b"
	// short: it begins as in, out, ends with `"1phfsb-0004M4-O4","192.0.2.1` instead of `"`, and has 2 values
}
