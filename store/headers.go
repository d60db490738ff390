package store

// Header is one header of a record.
type Header = struct {
	Name  string
	Value []byte // nil: null
}

// Headers are the headers of a record, in order. A name may occur more than once. They are never
// changed in place: With and Without return copies, so that records may share them.
type Headers []Header

// Get returns the value of the last header of that name.
func (h Headers) Get(name string) (value []byte, ok bool) {
	for i := len(h) - 1; i >= 0; i-- {
		if h[i].Name == name {
			return h[i].Value, true
		}
	}
	return nil, false
}

// With returns h and one more header.
func (h Headers) With(name string, value []byte) Headers {
	out := make(Headers, len(h), len(h)+1)
	copy(out, h)
	return append(out, Header{Name: name, Value: value})
}

// Without returns h without the headers of that name.
func (h Headers) Without(name string) Headers {
	var out Headers
	for _, header := range h {
		if header.Name != name {
			out = append(out, header)
		}
	}
	return out
}
