package account

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/crypto/argon2"
)

// The parameters of new hashes: OWASP's first choice for argon2id with 19 MiB.
const (
	hashMemory  = 19 * 1024 // KiB
	hashTime    = 2
	hashThreads = 1
	hashBytes   = 32
	saltBytes   = 16

	// Bounds of hashes that are read: one from elsewhere must not eat the memory.
	maxMemory = 256 * 1024
	maxTime   = 16
	maxBytes  = 64
)

// Bounds of passwords. The upper one keeps hashing cheap.
const (
	minPassword = 10
	maxPassword = 1024
)

// hasher computes hashes, so many at a time.
type hasher struct{ slots chan struct{} }

func (h hasher) key(ctx context.Context, password string, p parameters, salt []byte) ([]byte, error) {
	select {
	case h.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-h.slots }()
	return argon2.IDKey([]byte(password), salt, p.time, p.memory, p.threads, p.bytes), nil
}

type parameters struct {
	memory, time uint32
	threads      uint8
	bytes        uint32
}

var newHashes = parameters{hashMemory, hashTime, hashThreads, hashBytes}

// hash is a password's, as it is kept: $argon2id$v=19$m=..,t=..,p=..$SALT$HASH.
func (h hasher) hash(ctx context.Context, password string) (string, error) {
	salt := make([]byte, saltBytes)
	rand.Read(salt)
	key, err := h.key(ctx, password, newHashes, salt)
	if err != nil {
		return "", err
	}
	return encode(newHashes, salt, key), nil
}

func encode(p parameters, salt, key []byte) string {
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, p.memory, p.time, p.threads,
		base64.RawStdEncoding.EncodeToString(salt), base64.RawStdEncoding.EncodeToString(key))
}

// verify tells whether the password is that of the hash. One that cannot be read is
// nobody's, after the time that a readable one takes.
func (h hasher) verify(ctx context.Context, password, encoded string) (bool, error) {
	p, salt, want, err := decode(encoded)
	if err != nil {
		p, salt, want = newHashes, make([]byte, saltBytes), nil
	}
	got, hashed := h.key(ctx, password, p, salt)
	if hashed != nil {
		return false, hashed
	}
	return err == nil && subtle.ConstantTimeCompare(got, want) == 1, nil
}

var errHash = errors.New("cannot read a password's hash: it is no argon2id within bounds")

func decode(encoded string) (p parameters, salt, key []byte, err error) {
	parts := strings.Split(encoded, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" || parts[2] != "v="+strconv.Itoa(argon2.Version) {
		return p, nil, nil, errHash
	}
	if n, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &p.memory, &p.time, &p.threads); n != 3 || err != nil {
		return p, nil, nil, errHash
	}
	if salt, err = base64.RawStdEncoding.DecodeString(parts[4]); err != nil {
		return p, nil, nil, errHash
	}
	if key, err = base64.RawStdEncoding.DecodeString(parts[5]); err != nil {
		return p, nil, nil, errHash
	}
	if p.memory == 0 || p.memory > maxMemory || p.time == 0 || p.time > maxTime || p.threads == 0 ||
		len(salt) == 0 || len(salt) > maxBytes || len(key) < hashBytes/2 || len(key) > maxBytes {
		return p, nil, nil, errHash
	}
	p.bytes = uint32(len(key))
	return p, salt, key, nil
}

func checkPassword(password string) error {
	switch n := len(password); {
	case n < minPassword:
		return fmt.Errorf("cannot use a password of %d bytes: want at least %d", n, minPassword)
	case n > maxPassword:
		return fmt.Errorf("cannot use a password of %d bytes: want at most %d", n, maxPassword)
	case strings.ContainsAny(password, "\r\n\x00"):
		return errors.New("cannot use a password with a line end or a NUL in it")
	}
	return nil
}

// alphabet of what is read and typed by people: no letter looks like another.
const alphabet = "23456789abcdefghjkmnpqrstuvwxyz"

// random text of the alphabet, almost 5 bits a letter.
func random(n int) string {
	b := make([]byte, 0, n)
	var chunk [64]byte
	for len(b) < n {
		rand.Read(chunk[:])
		for _, c := range chunk {
			if c &= 31; int(c) < len(alphabet) && len(b) < n {
				b = append(b, alphabet[c])
			}
		}
	}
	return string(b)
}
