import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.HashMap;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;

/**
 * Runs the program of {@link Topologies} on Kafka Streams.
 *
 * <p>It says "ready" once its tasks run. The line "stop" on standard input closes it, after which it says "stopped". When
 * the input ends, the test has died.
 */
public final class Takeover {
    public static void main(String[] args) throws Exception {
        Map<String, String> settings = new HashMap<>();
        for (String arg : args) {
            String[] pair = arg.split("=", 2);
            settings.put(pair[0], pair[1]);
        }
        KafkaStreams streams = new KafkaStreams(Topologies.of(settings.get("in"), settings.get("out")), config(settings));
        streams.setUncaughtExceptionHandler(e -> {
            e.printStackTrace();
            Runtime.getRuntime().halt(1);
            return StreamThreadExceptionResponse.SHUTDOWN_CLIENT;
        });
        streams.setStateListener((next, previous) -> {
            if (next == KafkaStreams.State.RUNNING) {
                System.out.println("ready");
            }
        });
        streams.start();

        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        if (!"stop".equals(in.readLine())) {
            Runtime.getRuntime().halt(3);
        }
        // As most programs close: the member does not leave the group, and its session has to end.
        if (!streams.close(Duration.ofMinutes(2))) {
            System.err.println("not closed in time");
            Runtime.getRuntime().halt(2);
        }
        System.out.println("stopped");
    }

    /** Defaults, but for what makes the test short: a short session, commits every 100 ms, and no cache. */
    static Properties config(Map<String, String> settings) {
        Properties p = new Properties();
        p.put(StreamsConfig.APPLICATION_ID_CONFIG, settings.get("application"));
        p.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, settings.get("broker"));
        p.put(StreamsConfig.STATE_DIR_CONFIG, settings.get("state"));
        p.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, settings.get("guarantee"));
        p.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, 100);
        p.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, 0);
        p.put(StreamsConfig.consumerPrefix(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG), "earliest");
        settings.forEach((name, value) -> {
            if (name.startsWith("config.")) {
                p.put(name.substring("config.".length()), value);
            }
        });
        if (!"streams".equals(p.get("group.protocol"))) { // brokers set them
            p.put(StreamsConfig.consumerPrefix(ConsumerConfig.SESSION_TIMEOUT_MS_CONFIG), 6000);
            p.put(StreamsConfig.consumerPrefix(ConsumerConfig.HEARTBEAT_INTERVAL_MS_CONFIG), 1000);
        }
        return p;
    }
}
