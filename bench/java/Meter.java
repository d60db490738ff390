import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.kafka.common.Metric;
import org.apache.kafka.common.MetricName;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.processor.StateRestoreListener;

/**
 * Measures as meter.go does: from when the first records have gone through to the last commit, or, when restoring, until
 * all tasks run.
 */
final class Meter extends Thread implements StateRestoreListener {
    private static final long CLOCK_TICK_MICROS = 10_000; // USER_HZ is 100

    private record Mark(long nanos, long micros) {
        static Mark now() {
            return new Mark(System.nanoTime(), cpuMicros());
        }
    }

    private final KafkaStreams streams;
    private final long warm;
    private final long records;
    private final boolean restore;
    private final AtomicLong restored = new AtomicLong();
    private final CountDownLatch running = new CountDownLatch(1);
    private final List<Metric> processed = new ArrayList<>();
    private final List<Metric> commits = new ArrayList<>();

    private volatile boolean ended;
    private Mark begin = Mark.now();
    private Mark end = begin;
    private long from;
    private long count;

    Meter(Spec spec, KafkaStreams streams) {
        this.streams = streams;
        warm = spec.number("warm");
        records = spec.number("records");
        restore = spec.get("workload").equals("restore");
        setDaemon(true);
    }

    /** Called when all tasks run. */
    synchronized void running() {
        if (restore && running.getCount() > 0) {
            count = restored.get();
            end = Mark.now();
        }
        running.countDown();
    }

    void awaitRunning() throws InterruptedException {
        running.await();
    }

    @Override
    public void run() {
        double seenCommits = 0;
        boolean warmed = false;
        while (!ended) {
            try {
                Thread.sleep(5);
            } catch (InterruptedException e) {
                return;
            }
            if (!restore && processed.isEmpty()) {
                if (running.getCount() > 0) {
                    continue;
                }
                find(); // all threads are there
            }
            long n = restore ? restored.get() : (long) sum(processed);
            double c = sum(commits);
            synchronized (this) {
                if (!restore && (n != count || c != seenCommits)) {
                    count = n;
                    seenCommits = c;
                    end = Mark.now();
                }
                if (!warmed && n >= warm && n < records) {
                    warmed = true;
                    from = n;
                    begin = Mark.now();
                }
            }
        }
    }

    private void find() {
        for (var e : streams.metrics().entrySet()) {
            MetricName name = e.getKey();
            if (!name.group().equals("stream-thread-metrics")) {
                continue;
            }
            if (name.name().equals("process-total")) {
                processed.add(e.getValue());
            } else if (name.name().equals("commit-total")) {
                commits.add(e.getValue());
            }
        }
    }

    private static double sum(List<Metric> metrics) {
        double s = 0;
        for (Metric m : metrics) {
            s += (Double) m.metricValue();
        }
        return s;
    }

    void end() {
        ended = true;
    }

    /** The figures, by the names of the fields of result in meter.go. Bytes written are those of the whole process. */
    synchronized String json() throws Exception {
        long n = count - from;
        return String.format(
                java.util.Locale.ROOT,
                "{\"Records\":%d,\"Processed\":%d,\"Seconds\":%.6f,\"CPU\":%.6f,\"Whole\":%.3f,\"Written\":%d}",
                n, count, (end.nanos - begin.nanos) / 1e9, (end.micros - begin.micros) / (double) Math.max(n, 1),
                end.micros / 1e6, written());
    }

    /** User and system time of this process. */
    private static long cpuMicros() {
        try {
            String stat = Files.readString(Path.of("/proc/self/stat"));
            // The name, in parentheses, may have spaces.
            String[] fields = stat.substring(stat.lastIndexOf(')') + 2).split(" ");
            return (Long.parseLong(fields[11]) + Long.parseLong(fields[12])) * CLOCK_TICK_MICROS;
        } catch (java.io.IOException e) {
            throw new java.io.UncheckedIOException(e);
        }
    }

    private static long written() throws java.io.IOException {
        for (String line : Files.readAllLines(Path.of("/proc/self/io"))) {
            if (line.startsWith("write_bytes: ")) {
                return Long.parseLong(line.substring("write_bytes: ".length()));
            }
        }
        throw new java.io.IOException("/proc/self/io has no write_bytes");
    }

    @Override
    public void onRestoreStart(TopicPartition partition, String store, long start, long end) {}

    @Override
    public void onBatchRestored(TopicPartition partition, String store, long offset, long n) {
        restored.addAndGet(n);
    }

    @Override
    public void onRestoreEnd(TopicPartition partition, String store, long total) {}
}
