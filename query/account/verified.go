package account

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"sync"
	"time"
)

// verified remembers passwords that were right, as keyed hashes over the name, the
// password and the hash that it was right for.
type verified struct {
	key   [32]byte
	keep  time.Duration
	size  int
	mutex sync.Mutex
	until map[[32]byte]time.Time
}

func newVerified(keep time.Duration, size int) *verified {
	v := &verified{keep: keep, size: size, until: map[[32]byte]time.Time{}}
	rand.Read(v.key[:])
	return v
}

func (v *verified) mac(name, password, hash string) (m [32]byte) {
	h := hmac.New(sha256.New, v.key[:])
	for _, s := range []string{name, hash, password} {
		h.Write([]byte(s))
		h.Write([]byte{0}) // none of them has one: see checkName and checkPassword
	}
	h.Sum(m[:0])
	return m
}

func (v *verified) has(name, password, hash string, now time.Time) bool {
	m := v.mac(name, password, hash)
	v.mutex.Lock()
	defer v.mutex.Unlock()
	until, ok := v.until[m]
	return ok && now.Before(until)
}

func (v *verified) add(name, password, hash string, now time.Time) {
	m := v.mac(name, password, hash)
	v.mutex.Lock()
	defer v.mutex.Unlock()
	if len(v.until) >= v.size {
		clear(v.until) // who comes again is hashed once more
	}
	v.until[m] = now.Add(v.keep)
}
