package serde

// Named is implemented by serdes whose bytes have a format with a name. A store records the names
// of the formats of its keys and values, on disk and with the committed offsets. If a serde of
// another format is later used for the store, the App does not start, instead of reading bytes of
// one format as values of another. A serde that is not Named, or whose name is empty, is not
// compared.
//
// The serdes of this package are Named, except those of Func and of a Codec that is not. Serdes of
// a schema registry or of Protocol Buffers should return names such as "avro" and "protobuf".
type Named interface {
	// FormatName returns the name of the format: short, the same in all versions of a program, and the
	// same for serdes that read each other's bytes. It says nothing of the Go type: a struct that gets
	// another field, name or package is written in the same format. It is called when a program is put
	// together.
	FormatName() string
}

// FormatName implements Named. Bytes has the same name: the two read each other.
func (stringSerde) FormatName() string { return "bytes" }

// FormatName implements Named.
func (bytesSerde) FormatName() string { return "bytes" }

// FormatName implements Named.
func (boolSerde) FormatName() string { return "bool" }

// FormatName implements Named.
func (int16Serde) FormatName() string { return "int16" }

// FormatName implements Named.
func (int32Serde) FormatName() string { return "int32" }

// FormatName implements Named. Time has the same name: the two read each other.
func (int64Serde) FormatName() string { return "int64" }

// FormatName implements Named.
func (float32Serde) FormatName() string { return "float32" }

// FormatName implements Named.
func (float64Serde) FormatName() string { return "float64" }

// FormatName implements Named.
func (timeSerde) FormatName() string { return "int64" }

// FormatName implements Named.
func (uuidSerde) FormatName() string { return "uuid" }

// FormatName implements Named.
func (noneSerde) FormatName() string { return "none" }

// FormatName implements Named: whatever the Go type.
func (*jsonSerde[T]) FormatName() string { return "json" }

// FormatName implements Named: lists have a name when their elements have.
func (s sliceSerde[T]) FormatName() string {
	if n := nameOf(s.elem); n != "" {
		return "list(" + n + ")"
	}
	return ""
}

// FormatName implements Named, where the codec does.
func (s codecSerde[T]) FormatName() string { return nameOf(s.codec) }

func nameOf(s any) string {
	if n, ok := s.(Named); ok {
		return n.FormatName()
	}
	return ""
}
