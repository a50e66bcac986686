package segue.bench;

import java.io.IOException;
import org.apache.flink.api.common.typeutils.SimpleTypeSerializerSnapshot;
import org.apache.flink.api.common.typeutils.TypeSerializer;
import org.apache.flink.api.common.typeutils.TypeSerializerSnapshot;
import org.apache.flink.core.memory.DataInputView;
import org.apache.flink.core.memory.DataOutputView;

/** Customers as the peers write them, after their length. */
final class ProfileSerializer extends TypeSerializer<Profile> {
    private static final long serialVersionUID = 1;

    private transient Buffer buffer;

    /** The buffer is one thread's. */
    @Override
    public TypeSerializer<Profile> duplicate() {
        return new ProfileSerializer();
    }

    @Override
    public void serialize(Profile profile, DataOutputView target) throws IOException {
        if (buffer == null) {
            buffer = new Buffer(new byte[4096]);
        }
        profile.write(buffer);
        target.writeInt(buffer.at);
        target.write(buffer.bytes, 0, buffer.at);
    }

    @Override
    public Profile deserialize(DataInputView source) throws IOException {
        byte[] bytes = new byte[source.readInt()];
        source.readFully(bytes);
        return Profile.read(bytes);
    }

    @Override
    public Profile deserialize(Profile reuse, DataInputView source) throws IOException {
        return deserialize(source);
    }

    @Override
    public void copy(DataInputView source, DataOutputView target) throws IOException {
        int length = source.readInt();
        target.writeInt(length);
        target.write(source, length);
    }

    @Override
    public Profile createInstance() {
        return new Profile();
    }

    /** RocksDB keeps no objects, so that nobody shares one. */
    @Override
    public Profile copy(Profile from) {
        return from;
    }

    @Override
    public Profile copy(Profile from, Profile reuse) {
        return from;
    }

    @Override
    public boolean isImmutableType() {
        return false;
    }

    @Override
    public int getLength() {
        return -1;
    }

    @Override
    public boolean equals(Object other) {
        return other instanceof ProfileSerializer;
    }

    @Override
    public int hashCode() {
        return ProfileSerializer.class.hashCode();
    }

    @Override
    public TypeSerializerSnapshot<Profile> snapshotConfiguration() {
        return new Snapshot();
    }

    /** Says in checkpoints that this is the serializer. */
    public static final class Snapshot extends SimpleTypeSerializerSnapshot<Profile> {
        public Snapshot() {
            super(ProfileSerializer::new);
        }
    }
}
