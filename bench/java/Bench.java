import java.io.BufferedOutputStream;
import java.io.BufferedReader;
import java.io.DataOutputStream;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.Properties;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.streams.CloseOptions;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StoreQueryParameters;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.state.QueryableStoreTypes;

/**
 * Runs one workload on Kafka Streams, as the Apps of this module run it on Millstream.
 *
 * <p>It says "ready" once it runs. Then it obeys the lines of standard input: "dump STORE" writes the rows of a store,
 * "stop" (or the end of the input) closes the streams, after which the figures are written as a line of JSON.
 */
public final class Bench {
    public static void main(String[] args) throws Exception {
        Spec spec = Spec.parse(args);
        DataOutputStream out =
                new DataOutputStream(new BufferedOutputStream(new FileOutputStream(FileDescriptor.out), 1 << 16));
        KafkaStreams streams = new KafkaStreams(Topologies.of(spec), config(spec));
        Meter meter = new Meter(spec, streams);
        streams.setGlobalStateRestoreListener(meter);
        streams.setUncaughtExceptionHandler(e -> {
            e.printStackTrace();
            Runtime.getRuntime().halt(1);
            return StreamThreadExceptionResponse.SHUTDOWN_CLIENT;
        });
        streams.setStateListener((next, previous) -> {
            if (next == KafkaStreams.State.RUNNING) {
                meter.running();
            }
        });
        meter.start();
        streams.start();
        meter.awaitRunning();
        say(out, "ready");

        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = in.readLine(); line != null && !line.equals("stop"); line = in.readLine()) {
            dump(streams, line.substring("dump ".length()), out);
        }
        meter.end();
        // Without leaving, the group would wait for this member when the application starts again.
        streams.close(CloseOptions.groupMembershipOperation(CloseOptions.GroupMembershipOperation.LEAVE_GROUP));
        say(out, meter.json());
    }

    /**
     * Defaults, but for what is to be the same on both sides: commits every 100 ms, every update goes out, as many threads
     * as the App has workers, acks=all and idempotence.
     */
    static Properties config(Spec spec) {
        Properties p = new Properties();
        p.put(StreamsConfig.APPLICATION_ID_CONFIG, spec.get("application"));
        p.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, spec.get("broker"));
        p.put(StreamsConfig.STATE_DIR_CONFIG, spec.get("state"));
        p.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, Integer.parseInt(spec.get("threads")));
        p.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, 100);
        p.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, 0);
        p.put(StreamsConfig.producerPrefix(ProducerConfig.ACKS_CONFIG), "all");
        p.put(StreamsConfig.producerPrefix(ProducerConfig.ENABLE_IDEMPOTENCE_CONFIG), true);
        return p;
    }

    /** Writes the rows of a store, each as the lengths and bytes of key and value; the length -1 ends them. */
    static void dump(KafkaStreams streams, String store, DataOutputStream out) throws Exception {
        var rows = streams.store(
                StoreQueryParameters.fromNameAndType(store, QueryableStoreTypes.<Object, Object>keyValueStore()));
        try (var all = rows.all()) {
            while (all.hasNext()) {
                var row = all.next();
                for (Object o : new Object[] {row.key, row.value}) {
                    byte[] bytes = Data.bytes(o);
                    out.writeInt(bytes.length);
                    out.write(bytes);
                }
            }
        }
        out.writeInt(-1);
        out.flush();
    }

    private static void say(DataOutputStream out, String line) throws Exception {
        out.write((line + "\n").getBytes(StandardCharsets.UTF_8));
        out.flush();
    }
}
