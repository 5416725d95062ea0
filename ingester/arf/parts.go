package arf

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/emersion/go-message"
	_ "github.com/emersion/go-message/charset" // character sets other than UTF-8

	"millrace/schema"
)

// errLimit is a message beyond the limits.
var errLimit = errors.New("a message beyond what a report can be")

// parts are those of a message that matter here.
type parts struct {
	header      []byte // the message's own
	mediaType   string
	report      []byte // of message/feedback-report; nil: there is none
	original    []byte // header, and body as far as it is wanted; nil: there is none
	description []byte // of the first text/plain
	foreign     string // type of a part that makes the message something else than a report
	others      bool   // there is more than originals
	flags       schema.Flag

	count       int  // of parts
	originalMax int  // bytes of the original that are wanted
	originalCut bool // it has more
}

// parts finds the parts of a message. Its header is read here, and leniently: what comes
// as a report has often been through hands that add lines of their own.
func (d *Decoder) parts(b []byte) (*parts, error) {
	p := &parts{originalMax: MaxHeader}
	if d.Body {
		p.originalMax += d.budget.left
	}
	var body []byte
	p.header, body = splitHeader(b)
	if len(p.header) > MaxHeader {
		return nil, fmt.Errorf("%w: a header of %d bytes exceeds %d", errLimit, len(p.header), MaxHeader)
	}
	var h message.Header
	eachField(p.header, func(name, value []byte) bool {
		if key := string(bytes.ToLower(name)); strings.HasPrefix(key, "content-") && !h.Has(key) {
			h.Set(key, string(value))
		}
		return true
	})
	entity, err := message.New(h, bytes.NewReader(body))
	if err != nil {
		p.flags |= schema.FlagBadMIME // its encoding or character set is not known; it is read as it is
	}
	p.mediaType = mediaType(entity.Header)
	if p.mediaType == "" {
		p.mediaType = "text/plain"
	}
	err = p.walk(entity, 0, "")
	if p.report != nil && !strings.HasPrefix(p.mediaType, "multipart/report") {
		p.flags |= schema.FlagMisnamedPart
	}
	return p, err
}

// mediaType is a part's type, in lower case, or empty.
func mediaType(h message.Header) string {
	t, _, err := h.ContentType()
	if err != nil { // parameters that do not parse leave the type
		t, _, _ = strings.Cut(h.Get("Content-Type"), ";")
	}
	return strings.ToLower(strings.TrimSpace(t))
}

// walk looks at a part and those within it.
func (p *parts) walk(part *message.Entity, depth int, parent string) error {
	if depth > MaxDepth {
		return fmt.Errorf("%w: parts are nested deeper than %d", errLimit, MaxDepth)
	}
	t := mediaType(part.Header)
	if !strings.HasPrefix(t, "multipart/") {
		return p.leaf(part, t, parent)
	}
	_, params, _ := part.Header.ContentType()
	guard := &guard{r: part.Body, boundary: []byte("--" + params["boundary"])}
	part.Body = guard
	reader := part.MultipartReader()
	if reader == nil { // its type does not parse
		return p.leaf(part, t, parent)
	}
	for {
		next, err := reader.NextPart()
		switch {
		case guard.tripped:
			return fmt.Errorf("%w: a part's header is longer than %d bytes", errLimit, maxPartHeader)
		case err == io.EOF:
			return nil
		case next != nil && (message.IsUnknownEncoding(err) || message.IsUnknownCharset(err)):
			p.flags |= schema.FlagBadMIME
		case err != nil:
			// What came before stands. The end of the input is a boundary that is missing.
			p.flags |= softFlag(err)
			return nil
		}
		if p.count++; p.count > MaxParts {
			return fmt.Errorf("%w: it has more than %d parts", errLimit, MaxParts)
		}
		if err := p.walk(next, depth+1, t); err != nil {
			return err
		}
	}
}

// softFlag tells input that ended from input that is wrong.
func softFlag(err error) schema.Flag {
	if errors.Is(err, io.ErrUnexpectedEOF) || strings.HasSuffix(err.Error(), "EOF") {
		return schema.FlagNoBoundary
	}
	return schema.FlagBadMIME
}

// leaf takes a part that has no parts.
func (p *parts) leaf(part *message.Entity, t, parent string) error {
	switch {
	case strings.HasSuffix(t, "/feedback-report"):
		if p.report != nil {
			p.flags |= schema.FlagRepeatedField
			return nil
		}
		if t != "message/feedback-report" {
			p.flags |= schema.FlagMisnamedPart
		}
		var cut bool
		if p.report, cut = p.read(part, MaxReport); cut {
			p.flags |= schema.FlagCut
		}
	case isOriginal(t):
		if p.original != nil {
			p.flags |= schema.FlagRepeatedField
			return nil
		}
		switch t {
		case "message/rfc822", "text/rfc822-headers", "message/global", "message/global-headers":
		default:
			p.flags |= schema.FlagMisnamedPart
		}
		p.original, p.originalCut = p.read(part, p.originalMax)
	case t == "message/delivery-status", t == "message/global-delivery-status",
		t == "message/disposition-notification", t == "message/global-disposition-notification":
		if p.foreign == "" {
			p.foreign = t
		}
	default:
		p.others = true
		if (t == "text/plain" || t == "") && p.description == nil && parent != "" {
			p.description, _ = p.read(part, 2*descriptionMax)
		}
	}
	return nil
}

// isOriginal knows how the part with the original is called, and miscalled.
func isOriginal(t string) bool {
	switch t {
	case "message/rfc822", "message/global", "message/global-headers", "message/rfc822-headers", "message/rfc822-header",
		"text/rfc822-headers", "text/rfc822-header", "text/rfc822":
		return true
	}
	return false
}

// read reads a part, most bytes of it. What cannot be read to its end stands as far as
// it came.
func (p *parts) read(part *message.Entity, most int) (b []byte, cut bool) {
	b, err := io.ReadAll(io.LimitReader(part.Body, int64(most)+1))
	if err != nil {
		p.flags |= softFlag(err)
	}
	if len(b) > most {
		b, cut = b[:most], true
	}
	if b == nil {
		b = []byte{}
	}
	return b, cut
}

// guard watches what a multipart is read from: the library reads the header of a part
// whole, however long it is.
type guard struct {
	r        io.Reader
	boundary []byte // with its dashes
	at       int    // bytes of the boundary that the line has matched; -1: the line is another one
	header   bool   // since a boundary no blank line has come
	size     int    // of the header
	blank    bool   // nothing of the line but its end has come
	tripped  bool
}

func (g *guard) Read(b []byte) (int, error) {
	if g.tripped {
		return 0, errLimit
	}
	n, err := g.r.Read(b)
	for _, c := range b[:n] {
		if c == '\n' {
			g.header = g.header && !g.blank || g.at == len(g.boundary)
			if g.at == len(g.boundary) {
				g.size = 0
			}
			g.at, g.blank = 0, true
			continue
		}
		switch {
		case g.at >= 0 && g.at < len(g.boundary) && c == g.boundary[g.at]:
			g.at++
		case g.at != len(g.boundary):
			g.at = -1
		}
		g.blank = g.blank && c == '\r'
		if g.header {
			if g.size++; g.size > maxPartHeader {
				g.tripped = true
				return 0, errLimit
			}
		}
	}
	return n, err
}
