package serde

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"unicode/utf8"
)

// errNotUTF8 is about a value whose text encoding/json replaced. The text itself is not shown: it
// may be a customer's name.
var errNotUTF8 = errors.New("a string in the value is not UTF-8, which JSON does not allow (encoding/json writes " +
	"U+FFFD in its place, and different keys become one): convert it to UTF-8, or use serde.String or serde.Bytes, " +
	"which keep every byte")

// checkText returns an error when decoding b would replace some of its text by U+FFFD. It does not
// check that b is JSON.
func checkText(b []byte) error {
	if !utf8.Valid(b) {
		return fmt.Errorf("the text is not UTF-8: byte %#02x at place %d", b[firstInvalid(b)], firstInvalid(b))
	}
	if found := findEscapes(b); found.half >= 0 {
		return fmt.Errorf("the text has half of a surrogate pair at place %d, which is no character: %s", found.half,
			b[found.half:found.half+6])
	}
	return nil
}

// firstInvalid returns where b, which is not UTF-8, begins not to be.
func firstInvalid(b []byte) (at int) {
	for {
		r, size := utf8.DecodeRune(b[at:])
		if r == utf8.RuneError && size <= 1 {
			return at
		}
		at += size
	}
}

// checkEncoded returns an error when out, which encoding/json made of *v, has text in it that is
// another one than v's.
func checkEncoded(out []byte, v any) error {
	if !utf8.Valid(out) { // a MarshalJSON's or a RawMessage's, which are copied as they are
		return fmt.Errorf("what the value was written as is not UTF-8: byte %#02x at place %d of %d", out[firstInvalid(out)],
			firstInvalid(out), len(out))
	}
	escapes := findEscapes(out)
	if escapes.half >= 0 {
		return fmt.Errorf("what the value was written as has half of a surrogate pair at place %d, which is no character: %s",
			escapes.half, out[escapes.half:escapes.half+6])
	}
	if escapes.replaced == 0 {
		return nil
	}
	// encoding/json writes a byte that is not UTF-8 as an escape, and the character U+FFFD itself as
	// it is. So escapes are replaced bytes, but for those in raw messages, which somebody else wrote.
	w := textChecker{seen: map[visited]bool{}}
	w.check(reflect.ValueOf(v))
	// What is reached twice is looked at once, and written twice: the escapes in its raw messages are
	// then more than were counted, and say nothing.
	if w.invalid || escapes.replaced > w.replacedInRaw && !(w.shared && w.replacedInRaw > 0) {
		return errNotUTF8
	}
	return nil
}

// escapes is what findEscapes finds.
type escapes struct {
	half     int // place of the first escape that is half of a surrogate pair, -1 when there is none
	replaced int // number of escapes \ufffd, in lower case as encoding/json writes them
}

// findEscapes looks at the escapes \uXXXX of a JSON text. Outside of strings there are no backslashes.
func findEscapes(b []byte) escapes {
	found := escapes{half: -1}
	for at := 0; ; {
		i := bytes.IndexByte(b[at:], '\\')
		if i < 0 || at+i+6 > len(b) { // another escape is shorter, and one cut short is no JSON
			return found
		}
		at += i
		if b[at+1] != 'u' {
			at += 2
			continue
		}
		switch {
		case string(b[at+2:at+6]) == "fffd":
			found.replaced++
		case isSurrogate(b[at:], "89abAB") && isSurrogate(b[at+6:], "cdefCDEF"):
			at += 6
		case isSurrogate(b[at:], "89abcdefABCDEF") && found.half < 0:
			found.half = at
		}
		at += 6
	}
}

// isSurrogate reports whether b begins with the escape of a surrogate whose second digit is one of
// digits.
func isSurrogate(b []byte, digits string) bool {
	return len(b) >= 6 && b[0] == '\\' && b[1] == 'u' && (b[2] == 'd' || b[2] == 'D') &&
		bytes.IndexByte([]byte(digits), b[3]) >= 0
}

// textChecker looks at all text in a value, also in fields that are not written. It is used for
// values that few programs have.
type textChecker struct {
	seen          map[visited]bool
	invalid       bool // some string is not UTF-8
	shared        bool // something was reached twice
	replacedInRaw int  // escapes \ufffd in raw messages
}

// visited is a pointer, a map or a slice that was followed. A struct and its first field have the
// same address, and so have a slice and its beginning.
type visited struct {
	address uintptr
	typ     reflect.Type
	length  int // of a slice
}

// first reports whether a value is reached for the first time. encoding/json refuses cycles only
// among the fields that it writes. Others may have some, through pointers, maps and slices.
func (w *textChecker) first(value reflect.Value, length int) bool {
	at := visited{value.Pointer(), value.Type(), length}
	if w.seen[at] {
		w.shared = true
		return false
	}
	w.seen[at] = true
	return true
}

func (w *textChecker) check(value reflect.Value) {
	switch value.Kind() {
	case reflect.String:
		w.invalid = w.invalid || !utf8.ValidString(value.String())
	case reflect.Interface:
		w.check(value.Elem())
	case reflect.Pointer:
		if !value.IsNil() && w.first(value, 0) {
			w.check(value.Elem())
		}
	case reflect.Slice:
		if value.Type() == reflect.TypeFor[json.RawMessage]() {
			// Its author may have written such escapes. They are counted: only what the whole text
			// has beyond them comes from bytes that were replaced.
			w.replacedInRaw += findEscapes(value.Bytes()).replaced
			return
		}
		if value.Len() > 0 && w.first(value, value.Len()) {
			w.checkElements(value)
		}
	case reflect.Array:
		w.checkElements(value)
	case reflect.Map:
		if value.Len() == 0 || !w.first(value, 0) {
			return
		}
		for rows := value.MapRange(); rows.Next(); {
			w.check(rows.Key())
			w.check(rows.Value())
		}
	case reflect.Struct:
		for i := range value.NumField() {
			w.check(value.Field(i))
		}
	}
}

func (w *textChecker) checkElements(v reflect.Value) {
	if v.Type().Elem().Kind() == reflect.Uint8 {
		return
	}
	for i := range v.Len() {
		w.check(v.Index(i))
	}
}
