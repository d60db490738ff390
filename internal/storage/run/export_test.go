package run

// MayHave reports whether the filter lets a key pass.
func MayHave(r *Reader, key []byte) bool { return r.mayHave(Hash(key)) }
