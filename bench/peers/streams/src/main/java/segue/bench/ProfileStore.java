package segue.bench;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.processor.StateStore;
import org.apache.kafka.streams.processor.StateStoreContext;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.StoreBuilder;
import org.apache.kafka.streams.state.Stores;
import org.apache.kafka.streams.state.internals.CacheFlushListener;
import org.apache.kafka.streams.state.internals.CachedStateStore;

/**
 * Customers as objects in front of RocksDB: a customer is serialised, logged and stored once for each commit, however many
 * events came. Kafka Streams calls {@link #flushCache} just before it commits.
 */
final class ProfileStore implements StateStore, CachedStateStore<String, Profile> {
    static final String NAME = "profiles";
    /** Customers kept in memory after a commit at most. */
    private static final int CACHED_MAX = 200_000;

    private final KeyValueStore<String, byte[]> inner;
    private final Map<String, Profile> cached = new HashMap<>();
    private final List<String> dirty = new ArrayList<>();
    private final Buffer buffer = new Buffer(new byte[4096]);

    private ProfileStore(KeyValueStore<String, byte[]> inner) {
        this.inner = inner;
    }

    /** A customer, to be changed. */
    Profile take(String customer) {
        Profile profile = cached.get(customer);
        if (profile == null) {
            byte[] bytes = inner.get(customer);
            profile = bytes == null ? new Profile() : Profile.read(bytes);
            cached.put(customer, profile);
        }
        if (!profile.isDirty) {
            profile.isDirty = true;
            dirty.add(customer);
        }
        return profile;
    }

    @Override
    public void flushCache() {
        for (String customer : dirty) {
            Profile profile = cached.get(customer);
            profile.isDirty = false;
            profile.write(buffer);
            inner.put(customer, buffer.toBytes());
        }
        dirty.clear();
        if (cached.size() > CACHED_MAX) {
            cached.clear();
        }
    }

    @Override
    public boolean setFlushListener(CacheFlushListener<String, Profile> listener, boolean sendOldValues) {
        return false;
    }

    @Override
    public void clearCache() {
        cached.clear();
        dirty.clear();
    }

    @Override
    public String name() {
        return NAME;
    }

    @Override
    public void init(StateStoreContext context, StateStore root) {
        inner.init(context, root);
    }

    @Override
    public void flush() {
        flushCache();
        inner.flush();
    }

    @Override
    public void close() {
        inner.close();
    }

    @Override
    public boolean persistent() {
        return true;
    }

    @Override
    public boolean isOpen() {
        return inner.isOpen();
    }

    static final class Builder implements StoreBuilder<ProfileStore> {
        private final StoreBuilder<KeyValueStore<String, byte[]>> inner = Stores.keyValueStoreBuilder(
            Stores.persistentKeyValueStore(NAME), Serdes.String(), Serdes.ByteArray()).withCachingDisabled();

        @Override
        public StoreBuilder<ProfileStore> withCachingEnabled() {
            return this;
        }

        @Override
        public StoreBuilder<ProfileStore> withCachingDisabled() {
            return this;
        }

        @Override
        public StoreBuilder<ProfileStore> withLoggingEnabled(Map<String, String> config) {
            inner.withLoggingEnabled(config);
            return this;
        }

        @Override
        public StoreBuilder<ProfileStore> withLoggingDisabled() {
            inner.withLoggingDisabled();
            return this;
        }

        @Override
        public ProfileStore build() {
            return new ProfileStore(inner.build());
        }

        @Override
        public Map<String, String> logConfig() {
            return inner.logConfig();
        }

        @Override
        public boolean loggingEnabled() {
            return inner.loggingEnabled();
        }

        @Override
        public String name() {
            return NAME;
        }
    }
}
