package store

// Header is one header of a record.
type Header struct {
	Name  string
	Value []byte // nil: null
}

// Headers are the headers of a record, in order; a name may occur more than once. They are never changed in place: With and
// Without copy, so records may share them.
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
	for _, x := range h {
		if x.Name != name {
			out = append(out, x)
		}
	}
	return out
}

// HeaderKeeper is a store that keeps headers with its rows, as operators see it: the Bytes, WindowBytes and so on of such a store
// implement it.
type HeaderKeeper interface {
	// Keep says which headers the rows have that are put from now on. It copies them.
	Keep(Headers)
	// Kept returns the headers of the row that was read last by anything but a scan, in memory of their own.
	Kept() (Headers, error)
}

// Keep returns what tells a store which headers to keep; nil when it keeps none.
func Keep(bytes any) func(Headers) {
	if k, ok := bytes.(HeaderKeeper); ok {
		return k.Keep
	}
	return nil
}
