package traffic

import (
	"fmt"
	"strings"
)

// The texts of the built-in formats, as they would be given to the filter. They
// are written out here because this package renders what the ingester decodes:
// a mistake in one must not cancel out in the other. A test compares the two.
const (
	textM1 = `"%(id)s","%(filtering_host)s","%(sender)s","%(recipient)s","%(domain)s","%(timestamp)s","%(sender_host)s","%(helo)s","%(sender_ip)s","%(incoming_size)s","%(outgoing_size)s","%(status)s","%(classification)s","%(classification_details)s","%(from_header)s","%(to_header)s","%(cc_header)s","%(subject_header)s"`
	textS1 = `"%(id)s","%(filtering_host)s","%(domain)s","%(recipient)s","%(status)s","%(delivery_date)s","%(delivery_ip)s","%(delivery_port)s","%(delivery_fqdn)s","%(delivery_data)s"`
	textM2 = `"%(id)s","%(filtering_host)s","%(sender)s","%(recipient)s","%(domain)s","%(timestamp)s","%(sender_host)s","%(helo)s","%(sender_ip)s","%(incoming_size)s","%(outgoing_size)s","%(status)s","%(from_header)s","%(to_header)s","%(cc_header)s","%(subject_header)s"`
	textS2 = `"%(id)s","%(filtering_host)s","%(domain)s","%(recipient)s","%(status)s","%(delivery_date)s","%(delivery_ip)s","%(delivery_port)s","%(delivery_interface)s","%(delivery_fqdn)s","%(delivery_data)s"`
	textM3 = `"sx-m3","%(id)s","%(filtering_host)s","%(timestamp)s","%(domain)s","%(sender_ip)s","%(sender_location)s","%(incoming_size)s","%(outgoing_size)s","%(bandwidth)s","%(status)s","%(main_class)s","%(sub_class)s","%(extra_class)s","%(auth_user)s","%(identity)s","%(sender_host)s","%(helo)s","%(sender)s","%(recipient)s","%(from_header)s","%(to_header)s","%(cc_header)s","%(subject_header)s","sx-end"`
	textS3 = `"sx-s3","%(id)s","%(filtering_host)s","%(delivery_date)s","%(domain)s","%(recipient)s","%(status)s","%(delivery_ip)s","%(delivery_port)s","%(delivery_interface)s","%(delivery_fqdn)s","%(delivery_data)s","sx-end"`
)

// pair is the format of the messages and the format of their status events.
type pair struct{ message, status row }

// row is a template cut up: literals[0] columns[0] literals[1] ... literals[n].
type row struct {
	literals []string
	columns  []column
}

type column uint8

const (
	colID column = iota
	colFilteringHost
	colDomain
	colRecipient
	colStatus
	colSender
	colTimestamp
	colSenderHost
	colHelo
	colSenderIP
	colSenderLocation
	colIncomingSize
	colOutgoingSize
	colBandwidth
	colClassification
	colDetails
	colCode
	colMainClass
	colSubClass
	colExtraClass
	colAuthUser
	colIdentity
	colFrom
	colTo
	colCC
	colSubject
	colDeliveryIP
	colDeliveryPort
	colDeliveryInterface
	colDeliveryFQDN
	colDeliveryData
)

var columns = map[string]column{
	"id": colID, "filtering_host": colFilteringHost, "domain": colDomain, "recipient": colRecipient, "status": colStatus,
	"sender": colSender, "timestamp": colTimestamp, "delivery_date": colTimestamp, "sender_host": colSenderHost,
	"helo": colHelo, "sender_ip": colSenderIP, "sender_location": colSenderLocation, "incoming_size": colIncomingSize,
	"outgoing_size": colOutgoingSize, "bandwidth": colBandwidth, "classification": colClassification,
	"classification_details": colDetails, "classification_code": colCode, "main_class": colMainClass,
	"sub_class": colSubClass, "extra_class": colExtraClass, "auth_user": colAuthUser, "identity": colIdentity,
	"from_header": colFrom, "to_header": colTo, "cc_header": colCC, "subject_header": colSubject,
	"delivery_ip": colDeliveryIP, "delivery_port": colDeliveryPort, "delivery_interface": colDeliveryInterface,
	"delivery_fqdn": colDeliveryFQDN, "delivery_data": colDeliveryData,
}

var (
	generation1 = &pair{mustRow(textM1), mustRow(textS1)}
	generation2 = &pair{mustRow(textM2), mustRow(textS2)}
	generation3 = &pair{mustRow(textM3), mustRow(textS3)}
)

// Formats lists what Options.Format may be.
func Formats() []string { return []string{"m1", "m2", "m3", "mixed"} }

func pairsOf(name string) ([]*pair, error) {
	switch strings.ToLower(name) {
	case "", "m1", "s1":
		return []*pair{generation1}, nil
	case "m2", "s2":
		return []*pair{generation2}, nil
	case "m3", "s3":
		return []*pair{generation3}, nil
	case "mixed":
		return []*pair{generation1, generation2, generation3}, nil
	}
	return nil, fmt.Errorf("cannot generate format %q: the formats are %s", name, strings.Join(Formats(), ", "))
}

func mustRow(text string) row {
	var r row
	for {
		at := strings.Index(text, "%(")
		if at < 0 {
			r.literals = append(r.literals, text)
			return r
		}
		end := strings.Index(text, ")s")
		c, known := columns[text[at+2:end]]
		if !known {
			panic("unknown column " + text[at:end])
		}
		r.literals = append(r.literals, text[:at])
		r.columns = append(r.columns, c)
		text = text[end+2:]
	}
}
