package btree

// Touch reads a byte of each page of memory that b has a part of, and returns something that depends
// on all of them. A fault of a mapped file then comes here, where the caller recovers it, and not
// where the bytes are used.
func Touch(b []byte) (x byte) {
	const page = 4 << 10 // no machine has smaller ones
	for i := 0; i < len(b); i += page {
		x ^= b[i]
	}
	if len(b) > 0 {
		x ^= b[len(b)-1]
	}
	return x
}
