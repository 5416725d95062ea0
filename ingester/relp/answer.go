package relp

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
)

// The commands of the sender.
const (
	Open   = "open"
	Syslog = "syslog"
	Close  = "close"
)

// Offers are what a sender offers with its open.
type Offers struct {
	Version int
}

// maxVersion is the protocol version that the specification describes; rsyslog's
// librelp calls what it speaks 0.
const maxVersion = 1

// ParseOffers reads the data of an open.
func ParseOffers(data []byte) (Offers, error) {
	o := Offers{Version: -1}
	syslog := false
	for line := range bytes.Lines(data) {
		name, value, _ := bytes.Cut(bytes.TrimSuffix(line, []byte("\n")), []byte("="))
		switch string(name) {
		case "relp_version":
			first, _, _ := bytes.Cut(value, []byte(","))
			v, err := strconv.ParseUint(string(first), 10, 16)
			if err != nil {
				return o, fmt.Errorf("cannot read the offer relp_version=%q", value)
			}
			o.Version = min(int(v), maxVersion)
		case "commands":
			for one := range bytes.SplitSeq(value, []byte(",")) {
				syslog = syslog || string(one) == Syslog
			}
		}
	}
	switch {
	case o.Version < 0:
		return o, errors.New("no relp_version is offered")
	case !syslog:
		return o, errors.New("the command syslog is not offered")
	}
	return o, nil
}

// AppendAccept appends the answer to an open: what we offer in turn.
func AppendAccept(dst []byte, txnr uint32, o Offers, software string) []byte {
	return appendRsp(dst, txnr, "200 OK\nrelp_version="+strconv.Itoa(o.Version)+"\nrelp_software="+software+"\ncommands="+Syslog)
}

// AppendOK appends the answer to a frame that has been dealt with.
func AppendOK(dst []byte, txnr uint32) []byte {
	dst = strconv.AppendUint(dst, uint64(txnr), 10)
	return append(dst, " rsp 6 200 OK\n"...)
}

// AppendRefusal appends the answer to a frame that will never be dealt with. A sender
// does not repeat it.
func AppendRefusal(dst []byte, txnr uint32, why string) []byte {
	return appendRsp(dst, txnr, "500 "+why)
}

// AppendServerClose appends the hint that the server ends the session.
func AppendServerClose(dst []byte) []byte { return append(dst, "0 serverclose 0\n"...) }

func appendRsp(dst []byte, txnr uint32, data string) []byte {
	dst = strconv.AppendUint(dst, uint64(txnr), 10)
	dst = append(dst, " rsp "...)
	dst = strconv.AppendInt(dst, int64(len(data)), 10)
	dst = append(dst, ' ')
	dst = append(dst, data...)
	return append(dst, '\n')
}
