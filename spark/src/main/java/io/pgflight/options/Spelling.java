package io.pgflight.options;

import java.util.Collection;

/** Finds the name that a user probably meant. */
final class Spelling {
    private Spelling() {}

    /** Returns the name with the fewest changes of letters, at most a third of them; null if none is so near. */
    static String nearest(String wanted, Collection<String> names) {
        String nearest = null;
        int least = Math.max(1, wanted.length() / 3) + 1;
        for (String name : names) {
            int changes = changes(wanted, name);
            if (changes < least) {
                least = changes;
                nearest = name;
            }
        }
        return nearest;
    }

    /** Returns the edit distance (Levenshtein). */
    private static int changes(String one, String other) {
        int[] row = new int[other.length() + 1];
        for (int at = 0; at < row.length; at++) {
            row[at] = at;
        }
        for (int from = 1; from <= one.length(); from++) {
            int diagonal = row[0];
            row[0] = from;
            for (int to = 1; to < row.length; to++) {
                int changed = diagonal + (one.charAt(from - 1) == other.charAt(to - 1) ? 0 : 1);
                diagonal = row[to];
                row[to] = Math.min(changed, Math.min(row[to], row[to - 1]) + 1);
            }
        }
        return row[other.length()];
    }
}
