package eximid

// Digits are those of base62 in the order of their values.
const Digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// values holds the value of each digit, and noDigit elsewhere.
var values = func() (t [256]byte) {
	for i := range t {
		t[i] = noDigit
	}
	for i := range len(Digits) {
		t[Digits[i]] = byte(i)
	}
	return t
}()

const noDigit = 0x80

// maxSecond ends ClickHouse's DateTime, in 2106.
const maxSecond = 1<<32 - 1

// Second is the Unix time that an id begins with, from 1 to 2^32-1; ok is false for what is
// no id of Exim's.
func Second(id []byte) (second uint64, ok bool) {
	var dash int // the second one
	switch len(id) {
	case 16:
		dash = 13
	case 23:
		dash = 18
	default:
		return 0, false
	}
	if id[6] != '-' || id[dash] != '-' {
		return 0, false
	}
	var all byte
	for _, c := range id[:6] {
		d := values[c]
		all |= d
		second = second*62 + uint64(d)
	}
	for _, c := range id[7:dash] {
		all |= values[c]
	}
	for _, c := range id[dash+1:] {
		all |= values[c]
	}
	if all&noDigit != 0 || second == 0 || second > maxSecond {
		return 0, false
	}
	return second, true
}

// Append appends the form of before Exim 4.97: the second, the process and the fraction of
// the second, of which each is cut to its digits.
func Append(dst []byte, second, process, fraction uint64) []byte {
	dst = append(AppendDigits(dst, second, 6), '-')
	dst = append(AppendDigits(dst, process, 6), '-')
	return AppendDigits(dst, fraction, 2)
}

// AppendLong appends the form of Exim 4.97 and later.
func AppendLong(dst []byte, second, process, fraction uint64) []byte {
	dst = append(AppendDigits(dst, second, 6), '-')
	dst = append(AppendDigits(dst, process, 11), '-')
	return AppendDigits(dst, fraction, 4)
}

// AppendDigits appends the last digits of a number, at most 11, with leading zeros.
func AppendDigits(dst []byte, v uint64, digits int) []byte {
	var b [11]byte
	for i := digits - 1; i >= 0; i-- {
		b[i] = Digits[v%62]
		v /= 62
	}
	return append(dst, b[:digits]...)
}
