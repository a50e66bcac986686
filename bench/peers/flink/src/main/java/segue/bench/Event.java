package segue.bench;

import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.api.java.tuple.Tuple5;
import org.apache.flink.api.java.typeutils.TupleTypeInfo;

/** A record on its way to its customer; a tuple, because Flink serialises those quickly. */
public final class Event extends Tuple5<String, Long, Integer, Integer, byte[]> {
    static final TypeInformation<Event> TYPE = new TupleTypeInfo<>(
        Event.class, Types.STRING, Types.LONG, Types.INT, Types.INT, Types.PRIMITIVE_ARRAY(Types.BYTE));

    /** What Flink makes to fill it. */
    public Event() {
    }

    Event(String customer, long arrived, int kind, int partition, byte[] value) {
        super(customer, arrived, kind, partition, value);
    }

    String customer() {
        return f0;
    }

    /** The greatest timestamp in its partition of its topic so far: what the order of all topics together goes by. */
    long arrived() {
        return f1;
    }

    /** See {@link Events#kind}. */
    int kind() {
        return f2;
    }

    int partition() {
        return f3;
    }

    byte[] value() {
        return f4;
    }
}
