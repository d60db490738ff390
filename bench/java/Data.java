import java.nio.ByteBuffer;
import java.util.Arrays;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;

/** Keys and values, as data.go has them. */
final class Data {
    static final int VALUE_SIZE = 100;

    /** A value of a table: a number, and other bytes. */
    record Row(long id, byte[] rest) {
        byte[] bytes() {
            return ByteBuffer.allocate(VALUE_SIZE).putLong(id).put(rest).array();
        }
    }

    static final Serde<Row> ROWS =
            Serdes.serdeFrom((topic, row) -> row == null ? null : row.bytes(), (topic, bytes) -> row(bytes));

    private Data() {}

    static Row row(byte[] bytes) {
        if (bytes == null) {
            return null;
        }
        ByteBuffer b = ByteBuffer.wrap(bytes);
        return new Row(b.getLong(), Arrays.copyOfRange(bytes, 8, bytes.length));
    }

    static long number(byte[] bytes) {
        return ByteBuffer.wrap(bytes).getLong();
    }

    /** A value whose last 8 bytes are replaced by a number. */
    static byte[] withNumber(byte[] value, long number) {
        byte[] out = value.clone();
        ByteBuffer.wrap(out).putLong(out.length - 8, number);
        return out;
    }

    static byte[] bytes(Object o) {
        if (o instanceof Row r) {
            return r.bytes();
        }
        return ByteBuffer.allocate(8).putLong((Long) o).array();
    }

    /** splitmix64: numbers that look random. */
    static long mix(long n) {
        n += 0x9e3779b97f4a7c15L;
        n = (n ^ n >>> 30) * 0xbf58476d1ce4e5b9L;
        n = (n ^ n >>> 27) * 0x94d049bb133111ebL;
        return n ^ n >>> 31;
    }
}
