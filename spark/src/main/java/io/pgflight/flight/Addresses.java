package io.pgflight.flight;

import java.net.InetAddress;
import java.net.UnknownHostException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * Spreads connections over replicas: those that an address lists, and all addresses that DNS has for a name, as for a
 * headless service of Kubernetes.
 */
final class Addresses {
    private Addresses() {}

    /** One server. */
    static final class Server {
        private final String name;
        private final String host;
        private final int port;

        Server(String name, String host, int port) {
            this.name = name;
            this.host = host;
            this.port = port;
        }

        /** Returns {@code host:port} as the user wrote it, which a certificate is for. */
        String name() {
            return name;
        }

        /** Returns the name or the address of the host. */
        String host() {
            return host;
        }

        int port() {
            return port;
        }
    }

    /**
     * Returns the server with this number, counted around.
     *
     * @param addresses each {@code host:port}
     */
    static Server choose(List<String> addresses, int number) {
        List<Server> servers = new ArrayList<>();
        for (String address : addresses) {
            servers.addAll(resolve(address));
        }
        return servers.get(Math.floorMod(number, servers.size()));
    }

    private static List<Server> resolve(String address) {
        int colon = address.lastIndexOf(':');
        String host = address.substring(0, colon);
        int port = Integer.parseInt(address.substring(colon + 1));
        try {
            InetAddress[] all = InetAddress.getAllByName(host);
            List<Server> servers = new ArrayList<>();
            for (InetAddress one : preferred(all)) {
                servers.add(new Server(address, one.getHostAddress(), port));
            }
            return servers;
        } catch (UnknownHostException unknown) {
            // The call reports it, and tries again while the error may pass.
            return Arrays.asList(new Server(address, host, port));
        }
    }

    /** Returns the addresses of the first one's family: the other family has the same hosts again. */
    private static List<InetAddress> preferred(InetAddress[] all) {
        List<InetAddress> same = new ArrayList<>();
        for (InetAddress one : all) {
            if (one.getClass() == all[0].getClass()) {
                same.add(one);
            }
        }
        return same;
    }
}
