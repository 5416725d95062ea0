package format

// EximTime is the second that an Exim message id says; ok is false for what is none.
func EximTime(id []byte) (seconds uint64, ok bool) { return parseID(id) }
