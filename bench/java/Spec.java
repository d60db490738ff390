import java.util.HashMap;
import java.util.Map;

/** What the program is to do: arguments of the form name=value. */
final class Spec {
    private final Map<String, String> values = new HashMap<>();

    static Spec parse(String[] args) {
        Spec s = new Spec();
        for (String a : args) {
            int at = a.indexOf('=');
            s.values.put(a.substring(0, at), a.substring(at + 1));
        }
        return s;
    }

    String get(String name) {
        String v = values.get(name);
        if (v == null) {
            throw new IllegalArgumentException("no argument " + name);
        }
        return v;
    }

    long number(String name) {
        return Long.parseLong(get(name));
    }
}
