package quarantine

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
)

const (
	// datesPage and headersPage are how many messages one FETCH asks for.
	datesPage   = 2000
	headersPage = 250
	// foldersNamed is how many folders an error lists.
	foldersNamed = 30
)

// Folder is one that is open.
type Folder struct {
	Name     string
	Validity uint32 // UIDVALIDITY: UIDs of another one are other messages'
	Messages uint32
}

// Found is a message that Find found.
type Found struct {
	UID    uint32
	Millis int64 // INTERNALDATE: when it came into the quarantine
	Size   int64
}

// Open opens a folder for reading alone. key is what the configuration calls it.
func (c *Client) Open(name, key string) (f Folder, err error) {
	var data *imap.SelectData
	err = c.await(func() (err error) {
		data, err = c.imap.Select(name, &imap.SelectOptions{ReadOnly: true}).Wait()
		return err
	})
	var refused *imap.Error
	if errors.As(err, &refused) {
		return f, fmt.Errorf("cannot open folder %q (%s): the server says %s; %s", name, key, words(refused), c.folders())
	}
	if err != nil {
		return f, c.failed(err, "cannot open folder %q (%s)", name, key)
	}
	return Folder{Name: name, Validity: data.UIDValidity, Messages: data.NumMessages}, nil
}

// folders says which there are.
func (c *Client) folders() string {
	var all []string
	err := c.await(func() error {
		list, err := c.imap.List("", "*", nil).Collect()
		for _, l := range list {
			if !slices.Contains(l.Attrs, imap.MailboxAttrNoSelect) {
				all = append(all, l.Mailbox)
			}
		}
		return err
	})
	switch {
	case err != nil:
		return c.failed(err, "cannot list its folders").Error()
	case len(all) == 0:
		return "this user has no folder there"
	}
	slices.Sort(all)
	more := ""
	if n := len(all) - foldersNamed; n > 0 {
		all, more = all[:foldersNamed], fmt.Sprintf(" and %d more", n)
	}
	for i, name := range all {
		all[i] = strconv.Quote(name)
	}
	return "there are " + strings.Join(all, ", ") + more
}

// Find returns the messages of the open folder that came within w, by UID. progress may be
// nil; it hears of how many dates were looked at.
func (c *Client) Find(f Folder, w Window, progress func(done, all int)) ([]Found, error) {
	if f.Messages == 0 {
		return nil, nil
	}
	since, before := w.days()
	var uids []imap.UID
	err := c.await(func() error {
		data, err := c.imap.UIDSearch(&imap.SearchCriteria{Since: since, Before: before}, nil).Wait()
		if err == nil {
			uids = data.AllUIDs()
		}
		return err
	})
	if err != nil {
		return nil, c.failed(err, "cannot search folder %q", f.Name)
	}
	slices.Sort(uids)
	var found []Found
	done := 0
	for page := range slices.Chunk(uids, datesPage) {
		err := c.fetch(page, &imap.FetchOptions{UID: true, InternalDate: true, RFC822Size: true}, func(m fetched) error {
			if m.at.IsZero() {
				return fmt.Errorf("the server gave message UID %d no INTERNALDATE", m.UID)
			}
			if w.Holds(m.at) {
				found = append(found, m.Found)
			}
			return nil
		})
		if done += len(page); err != nil {
			return nil, c.failed(err, "cannot read the dates of folder %q", f.Name)
		}
		if progress != nil {
			progress(done, len(uids))
		}
	}
	slices.SortFunc(found, func(a, b Found) int { return int(int64(a.UID) - int64(b.UID)) })
	return found, nil
}

// ReceiverError is an error of the receiver of Headers, as it came.
type ReceiverError struct{ Err error }

func (e *ReceiverError) Error() string { return e.Err.Error() }
func (e *ReceiverError) Unwrap() error { return e.Err }

// Headers fetches the headers of messages of the open folder and hands each over, in their
// order. A message that is no longer there is left out. header is valid during the call; cut says
// that the header is longer than Options.MaxHeader. An error of the receiver ends the client.
func (c *Client) Headers(f Folder, found []Found, receive func(m Found, header []byte, cut bool) error) (n int, err error) {
	o := &imap.FetchOptions{UID: true, BodySection: []*imap.FetchItemBodySection{{
		Specifier: imap.PartSpecifierHeader, Peek: true, Partial: &imap.SectionPartial{Size: int64(c.o.MaxHeader) + 1},
	}}}
	var uids []imap.UID
	for page := range slices.Chunk(found, headersPage) {
		uids = uids[:0]
		for _, m := range page {
			uids = append(uids, imap.UID(m.UID))
		}
		err := c.fetch(uids, o, func(m fetched) error {
			at, ok := slices.BinarySearchFunc(page, m.UID, func(p Found, uid uint32) int { return int(int64(p.UID) - int64(uid)) })
			// Of a message that somebody has removed since, dovecot says that its header is empty;
			// one of a message that has none is an empty line.
			if !ok || len(m.header) == 0 {
				return nil
			}
			n++
			cut := len(m.header) > c.o.MaxHeader
			if err := receive(page[at], m.header[:min(len(m.header), c.o.MaxHeader)], cut); err != nil {
				return &ReceiverError{err}
			}
			return nil
		})
		var theirs *ReceiverError
		if errors.As(err, &theirs) {
			return n, theirs.Err
		}
		if err != nil {
			return n, c.failed(err, "cannot read all headers of folder %q, %d of %d were read", f.Name, n, len(found))
		}
	}
	return n, nil
}

// fetched is one answer to a FETCH.
type fetched struct {
	Found
	at     time.Time
	header []byte
}

// fetch asks for messages and calls f for each answer, during which no answer is due.
func (c *Client) fetch(uids []imap.UID, o *imap.FetchOptions, f func(fetched) error) error {
	var set imap.UIDSet
	set.AddNum(uids...)
	var header []byte
	c.link.expect()
	defer func() { c.link.rest() }()
	cmd := c.imap.Fetch(set, o)
	for msg := cmd.Next(); msg != nil; msg = cmd.Next() {
		var m fetched
		for item := msg.Next(); item != nil; item = msg.Next() {
			switch item := item.(type) {
			case imapclient.FetchItemDataUID:
				m.UID = uint32(item.UID)
			case imapclient.FetchItemDataInternalDate:
				m.at, m.Millis = item.Time, item.Time.UnixMilli()
			case imapclient.FetchItemDataRFC822Size:
				m.Size = item.Size
			case imapclient.FetchItemDataBodySection:
				var err error
				if header, err = c.literal(header[:0], item.Literal); err != nil {
					// The connection is gone. Nothing more is read of the command: its end
					// would read the literal again, beside go-imap's own reader.
					return err
				}
				m.header = header
			}
		}
		if m.UID == 0 {
			continue
		}
		c.link.rest()
		err := f(m)
		c.link.expect()
		if err != nil {
			c.link.Close() // what is left of the answer is not wanted
			cmd.Close()
			return err
		}
	}
	return cmd.Close()
}

// literal appends a header, no more than Options.MaxHeader and one byte of it.
func (c *Client) literal(b []byte, r imap.LiteralReader) ([]byte, error) {
	if r == nil { // NIL
		return b, nil
	}
	limit := min(int64(c.o.MaxHeader)+1, r.Size())
	b = slices.Grow(b, int(limit))[:limit]
	n, err := io.ReadFull(r, b)
	return b[:n], err
}
