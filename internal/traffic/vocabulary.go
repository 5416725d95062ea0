package traffic

import (
	"fmt"
	"math"
	"sort"
	"strconv"
	"strings"
	"sync"
)

const (
	customerDomains = 20_000
	otherDomains    = 30_000
	mailboxes       = 4_096
	sizeSteps       = 4_096
)

// words is what all generators draw from. It is built once and only read.
type words struct {
	customers, others []string
	customer, other   *alias
	locals            []string
	local             *alias
	country           *alias
	names             []string // display names, ready for a header
	sizes             [sizeSteps]uint64

	numbered, plain, quoted, foreign, spam, phish, virus []pattern
}

var vocabulary = sync.OnceValue(func() *words {
	v := &words{
		customers: domainNames(customerDomains, false),
		others:    append(append([]string(nil), wellKnown...), domainNames(otherDomains-len(wellKnown), true)...),
		customer:  newZipf(customerDomains, 1.0),
		other:     newZipf(otherDomains, 1.1),
		locals:    localParts(mailboxes),
		local:     newZipf(mailboxes, 0.8),
		country:   newZipf(len(countries), 1.0),
		names:     displayNames(),
		numbered:  compile(numberedSubjects),
		plain:     compile(plainSubjects),
		quoted:    compile(quotedSubjects),
		foreign:   compile(foreignSubjects),
		spam:      compile(spamSubjects),
		phish:     compile(phishSubjects),
		virus:     compile(virusSubjects),
	}
	for i := range v.sizes {
		q := (float64(i) + 0.5) / sizeSteps
		v.sizes[i] = uint64(min(18_000*math.Exp(1.5*math.Sqrt2*math.Erfinv(2*q-1)), 50e6))
	}
	return v
})

// domainNames gives n different names in an order that has nothing to do with
// the alphabet, so that the rank of a domain does not show in its name.
func domainNames(n int, nounFirst bool) []string {
	type ranked struct {
		name string
		rank uint64
	}
	all := make([]ranked, 0, len(adjectives)*len(nouns)*len(tails))
	for _, a := range adjectives {
		for _, o := range nouns {
			for _, t := range tails {
				name := a + "-" + o + t
				if nounFirst {
					name = o + "-" + a + t
				}
				rank := mix(uint64(len(all)) + 1)
				all = append(all, ranked{name + tlds[rank%uint64(len(tlds))], rank})
			}
		}
	}
	sort.Slice(all, func(i, j int) bool { return all[i].rank < all[j].rank })
	names := make([]string, n)
	for i := range names {
		names[i] = all[i].name
	}
	return names
}

func localParts(n int) []string {
	locals := append([]string(nil), roles...)
	for i := len(locals); i < n; i++ {
		first := strings.ToLower(firstNames[i%len(firstNames)])
		last := strings.ToLower(lastNames[i/len(firstNames)%len(lastNames)])
		switch i / (len(firstNames) * len(lastNames)) {
		case 0:
			locals = append(locals, first+"."+last)
		case 1:
			locals = append(locals, first[:1]+last)
		case 2:
			locals = append(locals, last+"_"+first)
		default:
			locals = append(locals, first+strconv.Itoa(1950+i%60))
		}
	}
	return locals
}

func displayNames() []string {
	names := make([]string, 0, 1024)
	for i := range cap(names) {
		first, last := firstNames[i%len(firstNames)], lastNames[i/len(firstNames)%len(lastNames)]
		switch {
		case i%10 == 3:
			names = append(names, foreignNames[i/10%len(foreignNames)])
		case i%4 == 0:
			names = append(names, fmt.Sprintf(`"%s, %s"`, last, first))
		case i%13 == 5:
			names = append(names, fmt.Sprintf(`"%s (%s)"`, first, last))
		default:
			names = append(names, first+" "+last)
		}
	}
	return names
}

// pattern is a subject cut at its marks: texts[0] marks[0] texts[1] ...
type pattern struct {
	texts []string
	marks []byte
}

func compile(subjects []string) []pattern {
	patterns := make([]pattern, len(subjects))
	for i, s := range subjects {
		p := &patterns[i]
		for {
			at := strings.IndexByte(s, '{')
			if at < 0 {
				break
			}
			p.texts = append(p.texts, s[:at])
			p.marks = append(p.marks, s[at+1])
			s = s[at+3:]
		}
		p.texts = append(p.texts, s)
	}
	return patterns
}

// append fills the marks; number is the {n}.
func (p *pattern) append(dst []byte, r *random, number uint64) []byte {
	for i, mark := range p.marks {
		dst = append(dst, p.texts[i]...)
		switch mark {
		case 'n':
			dst = strconv.AppendUint(dst, number, 10)
		case 'a':
			dst = append(dst, adjectives[r.below(len(adjectives))]...)
		case 'o':
			dst = append(dst, nouns[r.below(len(nouns))]...)
		case 'w':
			dst = append(dst, lastNames[r.below(len(lastNames))]...)
		case 'f':
			dst = append(dst, firstNames[r.below(len(firstNames))]...)
		case 'd':
			dst = strconv.AppendUint(dst, uint64(1+r.below(99)), 10)
		case 'm':
			dst = strconv.AppendUint(dst, uint64(1+r.below(999)), 10)
			dst = append(dst, ',')
			dst = strconv.AppendUint(dst, uint64(100+r.below(900)), 10)
		}
	}
	return append(dst, p.texts[len(p.marks)]...)
}
