package serde_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/serde"
)

// envelope has numbers where only the text says what they are, at several depths.
type envelope struct {
	ID      int64            `json:"id"`
	Payload any              `json:"payload"`
	Tags    map[string]any   `json:"tags,omitempty"`
	Parts   []map[string]any `json:"parts,omitempty"`
	Next    *envelope        `json:"next,omitempty"`
}

// exact checks that a text decodes and is written again as it was.
func exact[T any](s serde.Serde[T], text string) func(*testing.T) {
	return func(t *testing.T) {
		v, err := s.Decode([]byte(text))
		require.NoError(t, err)
		b, err := s.Append([]byte("before"), v)
		require.NoError(t, err)
		assert.Equal(t, "before"+text, string(b))
	}
}

func TestJSON_NumbersStayExact(t *testing.T) {
	registered, err := serde.Find[map[string]any](&serde.Registry{Fallback: serde.JSONCodec})
	require.NoError(t, err)
	for name, test := range map[string]func(*testing.T){
		"beyond 2^53":         exact(serde.JSON[map[string]any](), `{"id":9007199254740993}`),
		"greatest uint64":     exact(serde.JSON[map[string]any](), `{"id":18446744073709551615}`),
		"beyond every type":   exact(serde.JSON[map[string]any](), `{"id":340282366920938463463374607431768211457}`),
		"decimals":            exact(serde.JSON[map[string]any](), `{"price":0.10,"sum":1.00000000000000000001}`),
		"exponents":           exact(serde.JSON[map[string]any](), `{"a":1e2,"b":1E+400,"c":-0}`),
		"any":                 exact(serde.JSON[any](), `9007199254740993`),
		"slice":               exact(serde.JSON[[]any](), `[9007199254740993,[9007199254740993],{"a":9007199254740993}]`),
		"field":               exact(serde.JSON[envelope](), `{"id":9007199254740993,"payload":9007199254740993}`),
		"fields of fields":    exact(serde.JSON[envelope](), `{"id":1,"payload":null,"parts":[{"n":9007199254740993}],"next":{"id":2,"payload":[9007199254740993],"tags":{"t":9007199254740993}}}`),
		"array of pointers":   exact(serde.JSON[[1]*any](), `[9007199254740993]`),
		"by a registry":       exact(registered, `{"id":9007199254740993}`),
		"long":                exact(serde.JSON[any](), `["`+strings.Repeat("x", 100_000)+`",9007199254740993]`),
		"fields that are any": exact(serde.JSON[struct{ A, B any }](), `{"A":9007199254740993,"B":"text"}`),
	} {
		t.Run(name, test)
	}
	var v any
	require.NoError(t, serde.JSONCodec.Unmarshal([]byte(`{"id":9007199254740993}`), &v))
	assert.Equal(t, map[string]any{"id": json.Number("9007199254740993")}, v)
}

// A decoder is used again. What one text leaves behind must not be seen by the next, whatever it was.
func TestJSON_PooledDecodersStartClean(t *testing.T) {
	s := serde.JSON[any]()
	for _, text := range []string{"1 2", "{", `{"a":1}}`, "[1]]", "", "nul", "1e", " \n1\t ", "[1] ", `"a`} {
		_, err := s.Decode([]byte(text))
		assert.Equal(t, json.Valid([]byte(text)), err == nil, "%q: %v", text, err)
		v, err := s.Decode([]byte(` {"a":[1,"b"]} `))
		require.NoError(t, err, "after %q", text)
		assert.Equal(t, map[string]any{"a": []any{json.Number("1"), "b"}}, v)
	}
	_, err := s.Decode([]byte("1 2"))
	assert.ErrorContains(t, err, "after top-level value")
	_, err = s.Decode(nil)
	assert.ErrorContains(t, err, "unexpected end")
}

type (
	byMarshalJSON struct{ name string }
	byAlias       struct {
		Name    string
		Payload json.RawMessage
	}
	byMarshalText struct{ name []byte }
	verbatim      string
)

func (v byMarshalJSON) MarshalJSON() ([]byte, error) { return json.Marshal(v.name) }
func (v byMarshalText) MarshalText() ([]byte, error) { return v.name, nil }
func (v verbatim) MarshalJSON() ([]byte, error)      { return []byte(v), nil }
func (v *byAlias) MarshalJSON() ([]byte, error) {
	type alias byAlias
	return json.Marshal((*alias)(v))
}

// appends returns an error of Append.
func appends[T any](v T) error {
	_, err := serde.JSON[T]().Append(nil, v)
	return err
}

func TestJSON_RefusesToWriteInvalidUTF8(t *testing.T) {
	const müller = "M\xfcller" // Latin-1
	for name, err := range map[string]error{
		"string":                    appends(müller),
		"cut in a character":        appends("\xe2\x82"),
		"surrogate as bytes":        appends("\xed\xa0\x80"),
		"field":                     appends(struct{ Country, Name string }{"de", müller}),
		"any":                       appends[any](müller),
		"element":                   appends([]string{"a", müller}),
		"in any":                    appends(map[string]any{"a": []any{map[string]any{"b": müller}}}),
		"key of a map":              appends(map[string]int{müller: 1}),
		"key that is text":          appends(map[byMarshalTextKey]int{{müller}: 1}),
		"MarshalJSON":               appends(byMarshalJSON{müller}),
		"MarshalJSON of a pointer":  appends(byAlias{Name: müller}),
		"beside a raw message":      appends(byAlias{Name: müller, Payload: json.RawMessage(`"\ufffd"`)}),
		"MarshalText":               appends(byMarshalText{[]byte(müller)}),
		"MarshalText in any":        appends[any]([]any{byMarshalText{[]byte(müller)}, json.RawMessage(`1`)}),
		"raw message":               appends(json.RawMessage(`"` + müller + `"`)),
		"MarshalJSON, bytes":        appends(verbatim(`"` + müller + `"`)),
		"half a pair":               appends(json.RawMessage(`"\ud83d"`)),
		"name in a raw message":     appends(map[string]json.RawMessage{"a": json.RawMessage(`{"` + müller + `":1}`)}),
		"after text with backslash": appends(`\ufffd and ` + müller),
		"by a codec":                marshal(müller),
	} {
		assert.ErrorContains(t, err, "serde.JSON: ", name)
		if err != nil {
			assert.Regexp(t, "not UTF-8|surrogate", err.Error(), name)
			assert.NotContains(t, err.Error(), "ller", "%s: the payload does not belong in errors", name)
		}
	}
}

func marshal(v any) error {
	_, err := serde.JSONCodec.Marshal(v)
	return err
}

type byMarshalTextKey struct{ name string }

func (v byMarshalTextKey) MarshalText() ([]byte, error) { return []byte(v.name), nil }

func TestJSON_WritesEveryText(t *testing.T) {
	raw := json.RawMessage(`{"\ufffd":"\ufffd","x":"\\ud800 \ud83d\ude00"}`)
	cycle := &struct {
		A    json.RawMessage
		self any
	}{A: raw}
	cycle.self = cycle
	for name, err := range map[string]error{
		"the character U+FFFD":         appends("\ufffd"),
		"text that looks like escapes": appends(`\ufffd \ud800 \`),
		"controls":                     appends("\x00\n\"\\\u2028"),
		"no character":                 appends("\uffff\U0010ffff"),
		"raw message":                  appends(raw),
		"raw messages":                 appends(map[string]any{"a": []json.RawMessage{raw, raw}, "b": &raw}),
		"in a custom marshaler":        appends(byAlias{Name: "ü", Payload: raw}),
		"in a value that is a circle":  appends(cycle),
	} {
		assert.NoError(t, err, name)
	}
}

func TestJSON_RefusesToReadInvalidUTF8(t *testing.T) {
	for text, want := range map[string]string{
		"{\"name\":\"M\xfcller\"}":    "the text is not UTF-8: byte 0xfc at place 10",
		"{\"\xff\":1}":                "byte 0xff at place 2",
		"[\"\xed\xa0\x80\"]":          "byte 0xed at place 2",
		`"\ud800"`:                    `half of a surrogate pair at place 1, which is no character: \ud800`,
		`{"a\uDC00":1}`:               `at place 3, which is no character: \uDC00`,
		`["\ud800\ud800\udc00"]`:      "at place 2",
		`["\ud83d\ude00\\\udc01"]`:    "at place 16",
		`["\ud83d \ude00"]`:           "at place 2",
		`["\\\\","\ud83d\u0041"]`:     "at place 9",
		"\"a\\\"\xc3\"":               "byte 0xc3 at place 4",
		`["\ud83d\ude00","\uD83d\n"]`: "at place 17",
	} {
		_, err := serde.JSON[any]().Decode([]byte(text))
		assert.ErrorContains(t, err, want, "%q", text)
		_, err = serde.JSON[json.RawMessage]().Decode([]byte(text))
		assert.ErrorContains(t, err, want, "%q", text)
		assert.Error(t, serde.JSONCodec.Unmarshal([]byte(text), new(any)))
	}
	for _, text := range []string{`"\ud83d\ude00"`, `"\uD83D\uDE00\\ud800"`, `"\ufffd"`, "\"\ufffd\"", `["\\\\ud800","\u00fc"]`, `""`} {
		_, err := serde.JSON[any]().Decode([]byte(text))
		assert.NoError(t, err, "%q", text)
	}
}

// What the documentation says of names.
func TestJSON_FindsFieldsInAnotherCase(t *testing.T) {
	s := serde.JSON[envelope]()
	for text, want := range map[string]int64{`{"id":1}`: 1, `{"ID":1}`: 1, `{"id":1,"Id":2}`: 2, `{"ID":2,"id":1}`: 1} {
		v, err := s.Decode([]byte(text))
		require.NoError(t, err)
		assert.Equal(t, want, v.ID, text)
	}
}

func BenchmarkJSON(b *testing.B) {
	text := []byte(`{"id":12345,"payload":{"name":"Grace Hopper","city":"New York","n":[1,2,3],"nested":{"a":"b","c":4.5}}}`)
	typed := []byte(`{"ID":12345,"Name":"Grace Hopper","City":"New York","N":[1,2,3],"Text":"some longer text that says nothing much, at all"}`)
	type user struct {
		ID         int64
		Name, City string
		N          []int
		Text       string
	}
	b.Run("decode any", func(b *testing.B) { benchDecode(b, serde.JSON[envelope](), text) })
	b.Run("decode typed", func(b *testing.B) { benchDecode(b, serde.JSON[user](), typed) })
	b.Run("append any", func(b *testing.B) { benchAppend(b, serde.JSON[envelope](), text) })
	b.Run("append typed", func(b *testing.B) { benchAppend(b, serde.JSON[user](), typed) })
}

func benchDecode[T any](b *testing.B, s serde.Serde[T], text []byte) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Decode(text); err != nil {
			b.Fatal(err)
		}
	}
}

func benchAppend[T any](b *testing.B, s serde.Serde[T], text []byte) {
	v, err := s.Decode(text)
	require.NoError(b, err)
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		if buf, err = s.Append(buf[:0], v); err != nil {
			b.Fatal(err)
		}
	}
}

// knot is a value with cycles in what is not written.
type knot struct {
	Raw   json.RawMessage
	Again *knot `json:",omitempty"`
	slice []any
	maps  map[string]any
}

// The look at all text in a value ends, whatever is in the fields that are not written.
func TestJSON_CyclesInFieldsThatAreNotWritten(t *testing.T) {
	shared := &knot{Raw: json.RawMessage(`"\ufffd"`)}
	k := &knot{Raw: json.RawMessage(`"\ufffd"`), Again: shared, slice: []any{nil}, maps: map[string]any{}}
	k.slice[0], k.maps["itself"], shared.Again = k.slice, k.maps, &knot{Raw: shared.Raw}
	s := serde.JSON[*knot]()
	b, err := s.Append(nil, k)
	require.NoError(t, err)
	assert.Equal(t, 3, strings.Count(string(b), `\ufffd`))

	twice := []*knot{shared, shared}
	_, err = serde.JSON[[]*knot]().Append(nil, twice)
	require.NoError(t, err, "written twice, looked at once")
	k.maps["text"] = "\xff"
	_, err = s.Append(nil, k)
	require.Error(t, err, "as in fields that are not written")
}
