package kafkatest

import (
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// freePorts returns n ports of the loopback interface that were free a moment ago.
func freePorts(n int) ([]int, error) {
	ports := make([]int, n)
	for i := range ports {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close() // not before all are chosen, so that they differ
		ports[i] = l.Addr().(*net.TCPAddr).Port
	}
	return ports, nil
}

// configure chooses the ports and writes server.properties, and with SASL the certificates.
func (n *Node) configure() error {
	ports, err := freePorts(3)
	if err != nil {
		return err
	}
	plain, controller, sasl := loopback(ports[0]), loopback(ports[1]), loopback(ports[2])
	n.Addr = plain
	p := map[string]string{
		"process.roles":                            "broker,controller",
		"node.id":                                  "1",
		"controller.quorum.bootstrap.servers":      controller,
		"controller.listener.names":                "CONTROLLER",
		"listeners":                                "PLAINTEXT://" + plain + ",CONTROLLER://" + controller,
		"advertised.listeners":                     "PLAINTEXT://" + plain,
		"listener.security.protocol.map":           "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL:SASL_SSL",
		"log.dirs":                                 filepath.Join(n.dir, "data"),
		"auto.create.topics.enable":                "false",
		"broker.heartbeat.interval.ms":             "500", // with the session below: a broker that was killed is back at once
		"broker.session.timeout.ms":                "2000",
		"group.initial.rebalance.delay.ms":         "0",
		"offsets.topic.replication.factor":         "1",
		"offsets.topic.num.partitions":             "4",
		"transaction.state.log.replication.factor": "1",
		"transaction.state.log.min.isr":            "1",
		"transaction.state.log.num.partitions":     "4",
	}
	if n.options.SASL {
		if err := n.configureSASL(p, sasl); err != nil {
			return err
		}
	}
	maps.Copy(p, n.options.Properties)
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(p)) {
		fmt.Fprintf(&b, "%s=%s\n", k, p[k])
	}
	return os.WriteFile(n.properties(), []byte(b.String()), 0o600)
}

func loopback(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }

const jaas = "org.apache.kafka.common.security."

func (n *Node) configureSASL(p map[string]string, addr string) error {
	ca, server, err := selfSigned()
	if err != nil {
		return err
	}
	keystore := filepath.Join(n.dir, "server.pem")
	if err := os.WriteFile(keystore, server, 0o600); err != nil {
		return err
	}
	n.SASLAddr, n.CA = addr, ca
	p["listeners"] += ",SASL://" + addr
	p["advertised.listeners"] += ",SASL://" + addr
	p["ssl.keystore.type"], p["ssl.keystore.location"] = "PEM", keystore
	p["sasl.enabled.mechanisms"] = "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER"
	login := "listener.name.sasl.%s.sasl.jaas.config"
	p[fmt.Sprintf(login, "plain")] = fmt.Sprintf("%splain.PlainLoginModule required user_%s=%q;", jaas, User, Password)
	p[fmt.Sprintf(login, "scram-sha-256")] = jaas + "scram.ScramLoginModule required;"
	p[fmt.Sprintf(login, "scram-sha-512")] = jaas + "scram.ScramLoginModule required;"
	// Tokens without a signature are what Kafka accepts when nothing else is configured.
	p[fmt.Sprintf(login, "oauthbearer")] = jaas + `oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="broker";`
	return nil
}
