package tap

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"millrace/ingester/framing"
	"millrace/schema"
)

// Filter says which frames a tap takes: those that have one of the values of each
// list that is not empty.
type Filter struct {
	Kinds     []*schema.Kind
	Listeners []string
	Domains   []string // lower case; ".example.com" is every domain below example.com
	Peers     []netip.Prefix
	Reasons   []schema.Reason // rejects alone have one
	Contains  [][]byte        // of the frame
}

func (f *Filter) match(e *schema.Event, frame *framing.Frame, peer netip.AddrPort) bool {
	return (len(f.Kinds) == 0 || slices.Contains(f.Kinds, e.Kind)) &&
		(len(f.Listeners) == 0 || isOneOf(f.Listeners, e.Text(schema.Listener))) &&
		(len(f.Reasons) == 0 || e.Kind == schema.Reject && isOneOf(f.Reasons, e.Text(reasonOf))) &&
		(len(f.Peers) == 0 || f.matchPeer(peer.Addr().Unmap())) &&
		(len(f.Domains) == 0 || f.matchDomain(e)) &&
		(len(f.Contains) == 0 || f.matchText(frame.Bytes))
}

func isOneOf[T ~string](list []T, v []byte) bool {
	for _, s := range list {
		if string(v) == string(s) {
			return true
		}
	}
	return false
}

func (f *Filter) matchPeer(a netip.Addr) bool {
	for _, p := range f.Peers {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// matchDomain: the decoder has made the event's domain lower case.
func (f *Filter) matchDomain(e *schema.Event) bool {
	i, has := domainOf[e.Kind]
	if !has {
		return false
	}
	v := e.Text(i)
	for _, d := range f.Domains {
		if d[0] == '.' && len(v) > len(d) && string(v[len(v)-len(d):]) == d || string(v) == d {
			return true
		}
	}
	return false
}

func (f *Filter) matchText(frame []byte) bool {
	for _, s := range f.Contains {
		if bytes.Contains(frame, s) {
			return true
		}
	}
	return false
}

// Request is what a reader asks for.
type Request struct {
	Filter
	Count    uint64        // ends after so many; 0: not
	For      time.Duration // ends after that time; 0: not
	Rate     float64       // frames a second at most; 0: all
	MaxBytes uint64        // of a capture, as octet-counted frames; 0: no bound
}

// DefaultRate is a person's.
const DefaultRate = 10

// ParseRequest reads the query of /tap and /capture. Lists are separated by commas or
// given several times; listeners are those that there are.
func ParseRequest(q url.Values, listeners []string) (Request, error) {
	r := Request{Rate: DefaultRate}
	parse := map[string]func(v string) error{
		"kind": func(v string) error {
			k := schema.KindByName(v)
			if k == nil {
				return errors.New("allowed: message, status, reject")
			}
			r.Kinds = append(r.Kinds, k)
			return nil
		},
		"listener": func(v string) error {
			if !slices.Contains(listeners, v) {
				return fmt.Errorf("the listeners are %s", strings.Join(listeners, ", "))
			}
			r.Listeners = append(r.Listeners, v)
			return nil
		},
		"domain": func(v string) error {
			if v == "" || v == "." {
				return errors.New("allowed: a domain, or .DOMAIN for all below it")
			}
			r.Domains = append(r.Domains, strings.ToLower(v))
			return nil
		},
		"peer": func(v string) error {
			p, err := parsePrefix(v)
			r.Peers = append(r.Peers, p)
			return err
		},
		"reason": func(v string) error {
			if !slices.ContainsFunc(schema.RejectReasons(), func(d schema.ReasonDoc) bool { return string(d.Reason) == v }) {
				return errors.New("allowed: the reasons of rejects in docs/errors.md, such as no_template")
			}
			r.Reasons = append(r.Reasons, schema.Reason(v))
			return nil
		},
		"contains":  func(v string) error { r.Contains = append(r.Contains, []byte(v)); return nil },
		"count":     func(v string) (err error) { r.Count, err = strconv.ParseUint(v, 10, 64); return unnumbered(err) },
		"max_bytes": func(v string) (err error) { r.MaxBytes, err = strconv.ParseUint(v, 10, 64); return unnumbered(err) },
		"for": func(v string) (err error) {
			if r.For, err = time.ParseDuration(v); err != nil || r.For < 0 {
				return errors.New("allowed: a time such as 10s")
			}
			return nil
		},
		"rate": func(v string) (err error) {
			if r.Rate, err = strconv.ParseFloat(v, 64); err != nil || !(r.Rate >= 0) {
				return errors.New("allowed: a number of frames a second; 0: all")
			}
			return nil
		},
	}
	for name, values := range q {
		f, known := parse[name]
		if !known {
			return r, fmt.Errorf("cannot filter by %q", name)
		}
		if name != "contains" {
			values = strings.Split(strings.Join(values, ","), ",")
		}
		for _, v := range values {
			if err := f(v); err != nil {
				return r, fmt.Errorf("cannot filter by %s %q: %w", name, v, err)
			}
		}
	}
	if len(r.Reasons) > 0 && len(r.Kinds) == 0 {
		r.Kinds = []*schema.Kind{schema.Reject}
	}
	if len(r.Domains) > 0 && len(r.Kinds) == 1 && r.Kinds[0] == schema.Reject {
		return r, errors.New("cannot filter rejects by domain: they were not decoded; contains finds it in the frame")
	}
	return r, nil
}

func unnumbered(err error) error {
	if err != nil {
		return errors.New("allowed: a whole number")
	}
	return nil
}

func parsePrefix(v string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(v); err == nil {
		return netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen()), nil
	}
	p, err := netip.ParsePrefix(v)
	if err != nil {
		return p, errors.New("allowed: an address or a network such as 192.0.2.0/24")
	}
	return p.Masked(), nil
}
