import java.time.Duration;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.JoinWindows;
import org.apache.kafka.streams.kstream.Joined;
import org.apache.kafka.streams.kstream.KStream;
import org.apache.kafka.streams.kstream.KTable;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.kstream.StreamJoined;
import org.apache.kafka.streams.kstream.TableJoined;
import org.apache.kafka.streams.kstream.TimeWindows;
import org.apache.kafka.streams.kstream.WindowedSerdes;
import org.apache.kafka.streams.state.KeyValueStore;

/** The programs of the workloads. Each is the same as the function of its name in Go. */
final class Topologies {
    private static final Serde<Long> LONG = Serdes.Long();
    private static final Serde<byte[]> BYTES = Serdes.ByteArray();

    private final Spec spec;
    private final StreamsBuilder b = new StreamsBuilder();

    private Topologies(Spec spec) {
        this.spec = spec;
    }

    static Topology of(Spec spec) {
        Topologies t = new Topologies(spec);
        switch (spec.get("workload")) {
            case "pass", "latency" -> t.pass();
            case "count" -> t.count();
            case "windows" -> t.windows();
            case "streams" -> t.streams();
            case "foreign" -> t.foreign();
            case "load", "join", "restore" -> t.join();
            default -> throw new IllegalArgumentException("no workload " + spec.get("workload"));
        }
        return t.b.build();
    }

    private void pass() {
        b.stream(spec.get("in"), Consumed.with(BYTES, BYTES))
                .mapValues(v -> v)
                .to(spec.get("out"), Produced.with(BYTES, BYTES));
    }

    private KStream<Long, byte[]> stream(String topic) {
        return b.stream(topic, Consumed.with(LONG, BYTES));
    }

    private KTable<Long, Data.Row> table(String topic, String store) {
        return b.table(topic, Consumed.with(LONG, Data.ROWS), rows(store));
    }

    private static Materialized<Long, Data.Row, KeyValueStore<Bytes, byte[]>> rows(String store) {
        return Materialized.<Long, Data.Row, KeyValueStore<Bytes, byte[]>>as(store)
                .withKeySerde(LONG)
                .withValueSerde(Data.ROWS);
    }

    private void count() {
        stream(spec.get("in"))
                .groupByKey(Grouped.with(LONG, BYTES))
                .count(Materialized.<Long, Long, KeyValueStore<Bytes, byte[]>>as("counts-by-key")
                        .withKeySerde(LONG)
                        .withValueSerde(LONG))
                .toStream()
                .to(spec.get("out"), Produced.with(LONG, LONG));
    }

    private void windows() {
        long size = spec.number("window");
        stream(spec.get("in"))
                .groupByKey(Grouped.with(LONG, BYTES))
                .windowedBy(TimeWindows.ofSizeWithNoGrace(Duration.ofMillis(size)))
                .count(Materialized.as("counts-by-window"))
                .toStream()
                .to(spec.get("out"), Produced.with(WindowedSerdes.timeWindowedSerdeFrom(Long.class, size), LONG));
    }

    private void streams() {
        JoinWindows within = JoinWindows.ofTimeDifferenceAndGrace(
                Duration.ofMillis(spec.number("within")), Duration.ofMillis(spec.number("grace")));
        stream("lefts")
                .join(
                        stream("rights"),
                        (l, r) -> Data.withNumber(l, Data.number(r)),
                        within,
                        StreamJoined.with(LONG, BYTES, BYTES).withName("pairs").withStoreName("pairs"))
                .to(spec.get("out"), Produced.with(LONG, BYTES));
    }

    private void foreign() {
        long shops = spec.number("shops");
        table("orders", "orders-by-id")
                .join(
                        table("shops", "shops-by-id"),
                        order -> Long.remainderUnsigned(Data.mix(order.id() + 1), shops),
                        (order, shop) -> Data.withNumber(order.bytes(), shop.id()),
                        TableJoined.as("sold"),
                        Materialized.with(LONG, BYTES))
                .toStream()
                .to(spec.get("out"), Produced.with(LONG, BYTES));
    }

    private void join() {
        stream("clicks")
                .leftJoin(
                        table("rows", "rows-by-key"),
                        (v, row) -> Data.withNumber(v, row == null ? -1 : row.id()),
                        Joined.with(LONG, BYTES, Data.ROWS))
                .to(spec.get("out"), Produced.with(LONG, BYTES));
    }
}
