package recordbatch_test

import (
	"testing"

	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/kafka/recordbatch"
)

// benchRecords is how many records are in each batch of the benchmarks. Their op is a record.
const benchRecords = 1000

func benchBatch(rs recordbatch.Records) recordbatch.Records {
	r := kafka.ProduceRecord{Key: []byte("12345678"), Value: make([]byte, 100), Headers: []kafka.Header{{Name: "n", Value: []byte("v")}}, Time: 1}
	for range benchRecords {
		rs = rs.Append(&r)
	}
	return rs
}

func BenchmarkAppend(b *testing.B) {
	var rs recordbatch.Records
	b.ReportAllocs()
	for i := 0; i < b.N; i += benchRecords {
		rs = benchBatch(rs[:0])
	}
}

func BenchmarkEncode(b *testing.B) {
	for _, c := range []recordbatch.Compression{recordbatch.None, recordbatch.LZ4} {
		b.Run(c.String(), func(b *testing.B) {
			e := recordbatch.Encoder{Compression: c}
			parts := []recordbatch.Records{benchBatch(nil)}
			var to []byte
			b.ReportAllocs()
			for i := 0; i < b.N; i += benchRecords {
				var err error
				if to, err = e.Append(to[:0], recordbatch.Header{Records: benchRecords}, parts); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkDecode(b *testing.B) {
	for _, c := range []recordbatch.Compression{recordbatch.None, recordbatch.LZ4} {
		b.Run(c.String(), func(b *testing.B) {
			e := recordbatch.Encoder{Compression: c}
			wire, err := e.Append(nil, recordbatch.Header{Records: benchRecords}, []recordbatch.Records{benchBatch(nil)})
			if err != nil {
				b.Fatal(err)
			}
			d := recordbatch.NewDecoder(1<<20, 128<<20)
			defer d.Close()
			b.ReportAllocs()
			b.ResetTimer()
			for i := 0; i < b.N; i += benchRecords {
				out, err := d.Decode(recordbatch.NewBatches(wire, 0, kafka.ReadUncommitted, nil), nil)
				if err != nil || len(out.Records) != benchRecords {
					b.Fatal(err)
				}
			}
		})
	}
}
