import java.time.Duration;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.KeyValue;
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
import org.apache.kafka.streams.kstream.SessionWindows;
import org.apache.kafka.streams.kstream.StreamJoined;
import org.apache.kafka.streams.kstream.Suppressed;
import org.apache.kafka.streams.kstream.TableJoined;
import org.apache.kafka.streams.kstream.TimeWindows;
import org.apache.kafka.streams.kstream.WindowedSerdes;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.SessionStore;
import org.apache.kafka.streams.state.Stores;
import org.apache.kafka.streams.state.WindowStore;

/** The program, part by part the same as in Go (program_kafka_test.go). Each name that Kafka gets is given. */
final class Topologies {
    private static final Serde<String> STRING = Serdes.String();
    private static final Serde<Long> LONG = Serdes.Long();
    private static final Duration WINDOW = Duration.ofSeconds(45);
    private static final Duration GRACE = Duration.ofSeconds(60);
    private static final Duration GAP = Duration.ofSeconds(40);
    private static final Duration RETENTION = Duration.ofHours(1);

    private final StreamsBuilder b = new StreamsBuilder();
    private final String in;
    private final String out;

    private Topologies(String in, String out) {
        this.in = in;
        this.out = out;
    }

    /** Returns the program that reads topics whose names begin with in, and writes those that begin with out. */
    static Topology of(String in, String out) {
        Topologies t = new Topologies(in, out);
        t.words();
        t.clicks();
        t.visits();
        t.customers();
        t.prices();
        t.pairs();
        t.orders();
        return t.b.build();
    }

    private KStream<String, String> stream(String topic) {
        return b.stream(in + topic, Consumed.with(STRING, STRING));
    }

    private KTable<String, String> table(String topic, String store) {
        return b.table(
                in + topic,
                Consumed.with(STRING, STRING),
                Materialized.<String, String, KeyValueStore<Bytes, byte[]>>as(store)
                        .withKeySerde(STRING)
                        .withValueSerde(STRING));
    }

    private static <S extends org.apache.kafka.streams.processor.StateStore> Materialized<String, Long, S> counts(
            String store) {
        return Materialized.<String, Long, S>as(store).withKeySerde(STRING).withValueSerde(LONG);
    }

    private <K, V> void to(KStream<K, V> s, String topic, Serde<K> key, Serde<V> value) {
        s.to(out + topic, Produced.with(key, value));
    }

    /** A count behind a repartition. */
    private void words() {
        KTable<String, Long> n = stream("words")
                .groupBy((k, v) -> v, Grouped.with("by-word", STRING, STRING))
                .count(Topologies.<KeyValueStore<Bytes, byte[]>>counts("word-counts"));
        to(n.toStream(), "word-counts", STRING, LONG);
    }

    /** A count in windows, and its final results. */
    private void clicks() {
        var n = stream("clicks")
                .groupByKey(Grouped.with(STRING, STRING))
                .windowedBy(TimeWindows.ofSizeAndGrace(WINDOW, GRACE))
                .count(Topologies.<WindowStore<Bytes, byte[]>>counts("click-windows"));
        var key = WindowedSerdes.timeWindowedSerdeFrom(String.class, WINDOW.toMillis());
        to(n.toStream(), "click-windows", key, LONG);
        var closed = n.suppress(Suppressed.untilWindowCloses(Suppressed.BufferConfig.unbounded())
                .withName("click-finals"));
        to(closed.toStream(), "click-finals", key, LONG);
    }

    private void visits() {
        var n = stream("visits")
                .groupByKey(Grouped.with(STRING, STRING))
                .windowedBy(SessionWindows.ofInactivityGapAndGrace(GAP, GRACE))
                .count(Topologies.<SessionStore<Bytes, byte[]>>counts("visit-sessions").withRetention(RETENTION));
        to(n.toStream(), "visit-sessions", WindowedSerdes.sessionWindowedSerdeFrom(String.class), LONG);
    }

    /** A stream joined with a table, and the table's rows counted by value. */
    private void customers() {
        KTable<String, String> customers = table("customers", "customers-by-id");
        to(
                stream("purchases")
                        .leftJoin(customers, (v, c) -> v + "/" + c, Joined.with(STRING, STRING, STRING, "purchase")),
                "purchases-joined",
                STRING,
                STRING);
        var cities = customers
                .groupBy((id, city) -> KeyValue.pair(city, id), Grouped.with("by-city", STRING, STRING))
                .count(Topologies.<KeyValueStore<Bytes, byte[]>>counts("city-counts"));
        to(cities.toStream(), "city-counts", STRING, LONG);
    }

    /** A stream joined with a table that has versions, at once and with a grace period. */
    private void prices() {
        KTable<String, String> prices = b.table(
                in + "prices",
                Consumed.with(STRING, STRING),
                Materialized.<String, String>as(Stores.persistentVersionedKeyValueStore("price-versions", Duration.ofHours(1)))
                        .withKeySerde(STRING)
                        .withValueSerde(STRING));
        KStream<String, String> sales = stream("sales");
        to(
                sales.leftJoin(prices, (v, p) -> v + "/" + p, Joined.with(STRING, STRING, STRING, "priced")),
                "sales-priced",
                STRING,
                STRING);
        to(
                sales.leftJoin(
                        prices,
                        (v, p) -> v + "/" + p,
                        Joined.with(STRING, STRING, STRING, "settled").withGracePeriod(GRACE)),
                "sales-settled",
                STRING,
                STRING);
    }

    /** Two streams: the pairs, and what has no partner. */
    private void pairs() {
        KStream<String, String> lefts = stream("lefts");
        KStream<String, String> rights = stream("rights");
        JoinWindows within = JoinWindows.ofTimeDifferenceAndGrace(GAP, GRACE);
        to(lefts.join(rights, (l, r) -> l + "/" + r, within, joined("inner")), "pairs-inner", STRING, STRING);
        to(lefts.leftJoin(rights, (l, r) -> l + "/" + r, within, joined("left")), "pairs-left", STRING, STRING);
        to(lefts.outerJoin(rights, (l, r) -> l + "/" + r, within, joined("outer")), "pairs-outer", STRING, STRING);
    }

    private static StreamJoined<String, String, String> joined(String name) {
        return StreamJoined.with(STRING, STRING, STRING).withName(name).withStoreName(name);
    }

    /** Two tables, of which one refers to rows of the other. The value of an order is its shop, ':', and what is its own. */
    private void orders() {
        KTable<String, String> orders = table("orders", "orders-by-id");
        KTable<String, String> shops = table("shops", "shops-by-id");
        to(
                orders.join(shops, Topologies::shop, (o, s) -> o + "/" + s, TableJoined.as("sold"))
                        .toStream(),
                "orders-sold",
                STRING,
                STRING);
        to(
                orders.leftJoin(shops, Topologies::shop, (o, s) -> o + "/" + s, TableJoined.as("all-sold"))
                        .toStream(),
                "orders-all-sold",
                STRING,
                STRING);
    }

    private static String shop(String order) {
        return order.substring(0, order.indexOf(':'));
    }
}
