// What our learner folds into a profile, in Kafka Streams: decayed ratings of products and of what these have in common, each event
// once. It does not count popularity, pairs and visits, which ours does as well. A line `go RECORDS rocksdb|memory` on the input is one
// pass over the topic with fresh state; its answer is `done RECORDS CLICKS PEOPLE`.
import com.google.protobuf.CodedInputStream;
import java.io.*;
import java.nio.file.*;
import java.util.*;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.kafka.common.serialization.*;
import org.apache.kafka.streams.*;
import org.apache.kafka.streams.kstream.*;
import org.apache.kafka.streams.state.Stores;

public final class Fold {
    static final double HALF_LIFE_MS = 7 * 24 * 60 * 60 * 1000.0, CAP = 16, CEILING = 64, FLOOR = 1.0 / 16;
    /** By type of click: none, view, search, add, remove, buy, impression, custom. */
    static final double[] WEIGHTS = {0, 1, 2, 4, -4, 8, 0, 0};
    /** Categories, brands, families, products, attributes. */
    static final int[] LONGEST = {16, 16, 8, 32, 24};
    static final int MOST_SEEN = 512, SKUS = 3;
    static final Map<String, String[]> FEATURES = new HashMap<>();
    static final AtomicLong records = new AtomicLong(), clicks = new AtomicLong(), people = new AtomicLong();

    record Click(int type, String sku, String event, long at) {}

    static final class Profile {
        long asOf = Long.MIN_VALUE;
        final List<Map<String, Double>> lists = new ArrayList<>();
        final LinkedHashSet<Integer> seen = new LinkedHashSet<>();

        Profile() {
            for (int list = 0; list < LONGEST.length; list++) lists.add(new HashMap<>());
        }

        Profile fold(byte[] report) {
            if (asOf == Long.MIN_VALUE) people.incrementAndGet();
            try {
                long[] received = {0};
                List<Click> read = read(report, received);
                long now = Math.max(received[0], asOf);
                double aged = asOf == Long.MIN_VALUE ? 1 : decay(now - asOf);
                Map<String, Double> perSku = new HashMap<>();
                for (Click click : read) {
                    if (!seen.add(click.event.hashCode())) continue;
                    double gain = WEIGHTS[click.type] * decay(now - click.at);
                    if (gain != 0 && !click.sku.isEmpty()) perSku.merge(click.sku, gain, Double::sum);
                }
                for (Iterator<Integer> oldest = seen.iterator(); seen.size() > MOST_SEEN; ) { oldest.next(); oldest.remove(); }
                List<Map<String, Double>> gains = new ArrayList<>();
                for (int list = 0; list < LONGEST.length; list++) gains.add(new HashMap<>());
                perSku.forEach((sku, sum) -> {
                    double gain = clamp(sum);
                    gains.get(SKUS).merge(sku, gain, Double::sum);
                    String[] feature = FEATURES.get(sku);
                    for (int place = 0; feature != null && place < feature.length; place++)
                        gains.get(place < SKUS ? place : 4).merge(feature[place], gain, Double::sum);
                });
                for (int list = 0; list < LONGEST.length; list++) add(lists.get(list), aged, gains.get(list), LONGEST[list]);
                asOf = now;
                clicks.addAndGet(read.size());
                records.incrementAndGet();
                return this;
            } catch (IOException error) {
                throw new UncheckedIOException(error);
            }
        }

        static void add(Map<String, Double> list, double aged, Map<String, Double> gained, int longest) {
            list.replaceAll((key, weight) -> weight * aged);
            gained.forEach((key, gain) -> list.merge(key, clamp(gain), Double::sum));
            list.replaceAll((key, weight) -> Math.min(weight, CEILING));
            list.values().removeIf(weight -> weight < FLOOR);
            if (list.size() > longest) {
                List<Map.Entry<String, Double>> sorted = new ArrayList<>(list.entrySet());
                sorted.sort(Map.Entry.<String, Double>comparingByValue().reversed().thenComparing(Map.Entry.comparingByKey()));
                for (var faint : sorted.subList(longest, sorted.size())) list.remove(faint.getKey());
            }
        }
    }

    static double clamp(double gain) { return Math.max(-CAP, Math.min(CAP, gain)); }

    static double decay(long age) { return Math.pow(2, -Math.max(age, 0) / HALF_LIFE_MS); }

    static List<Click> read(byte[] report, long[] received) throws IOException {
        List<Click> clicks = new ArrayList<>();
        CodedInputStream in = CodedInputStream.newInstance(report);
        for (int tag = in.readTag(); tag != 0; tag = in.readTag()) {
            switch (tag >>> 3) {
                case 3 -> received[0] = in.readInt64();
                case 4 -> {
                    int limit = in.pushLimit(in.readRawVarint32()), type = 0;
                    String event = "", sku = "";
                    long at = 0;
                    for (int inner = in.readTag(); inner != 0; inner = in.readTag()) {
                        switch (inner >>> 3) {
                            case 1 -> event = in.readString();
                            case 2 -> type = in.readEnum();
                            case 3 -> sku = in.readString();
                            case 7 -> at = in.readInt64();
                            default -> in.skipField(inner);
                        }
                    }
                    in.popLimit(limit);
                    clicks.add(new Click(type, sku, event, at));
                }
                default -> in.skipField(tag);
            }
        }
        return clicks;
    }

    static byte[] write(Profile profile) {
        try {
            ByteArrayOutputStream bytes = new ByteArrayOutputStream(1024);
            DataOutputStream out = new DataOutputStream(bytes);
            out.writeLong(profile.asOf);
            for (var list : profile.lists) {
                out.writeByte(list.size());
                for (var rating : list.entrySet()) { out.writeUTF(rating.getKey()); out.writeDouble(rating.getValue()); }
            }
            out.writeShort(profile.seen.size());
            for (int mark : profile.seen) out.writeInt(mark);
            return bytes.toByteArray();
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
    }

    static Profile parse(byte[] bytes) {
        try {
            DataInputStream in = new DataInputStream(new ByteArrayInputStream(bytes));
            Profile profile = new Profile();
            profile.asOf = in.readLong();
            for (var list : profile.lists) for (int left = in.readByte(); left > 0; left--) list.put(in.readUTF(), in.readDouble());
            for (int left = in.readShort(); left > 0; left--) profile.seen.add(in.readInt());
            return profile;
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
    }

    static Topology topology(String topic, boolean onDisk) {
        Serde<Profile> serde = Serdes.serdeFrom((name, profile) -> profile == null ? null : write(profile),
            (name, bytes) -> bytes == null ? null : parse(bytes));
        var store = onDisk ? Stores.persistentKeyValueStore("profiles") : Stores.inMemoryKeyValueStore("profiles");
        StreamsBuilder builder = new StreamsBuilder();
        builder.stream(topic, Consumed.with(Serdes.String(), Serdes.ByteArray())).groupByKey()
            .aggregate(Profile::new, (person, report, profile) -> profile.fold(report),
                Materialized.<String, Profile>as(store).withKeySerde(Serdes.String()).withValueSerde(serde));
        return builder.build();
    }

    /** BROKERS TOPIC FEATURES FOLDER; a feature is a line of product, category, brand, family, attributes, with tabs between. */
    public static void main(String[] words) throws Exception {
        for (String line : Files.readAllLines(Path.of(words[2]))) {
            String[] fields = line.split("\t");
            FEATURES.put(fields[0], Arrays.copyOfRange(fields, 1, fields.length));
        }
        System.out.println("ready");
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            String[] asked = line.split(" ");
            long wanted = Long.parseLong(asked[1]);
            for (AtomicLong count : List.of(records, clicks, people)) count.set(0);
            Properties settings = new Properties();
            settings.put(StreamsConfig.APPLICATION_ID_CONFIG, "bench-fold-" + UUID.randomUUID());
            settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, words[0]);
            settings.put(StreamsConfig.STATE_DIR_CONFIG, words[3]);
            settings.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, 1);
            settings.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, 64L << 20);
            settings.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, 500);
            settings.put("auto.offset.reset", "earliest");
            settings.put("producer.compression.type", "zstd");
            settings.put("producer.linger.ms", 5);
            KafkaStreams streams = new KafkaStreams(topology(words[1], asked[2].equals("rocksdb")), settings);
            streams.setUncaughtExceptionHandler(error -> { error.printStackTrace(); System.exit(1); return null; });
            streams.start();
            while (records.get() < wanted) Thread.sleep(5);
            // What is in the cache is to be in the store before the pass counts as done.
            streams.close();
            streams.cleanUp();
            System.out.println("done " + records.get() + " " + clicks.get() + " " + people.get());
        }
    }
}
