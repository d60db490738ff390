package sarama

import ibm "github.com/IBM/sarama"

// firstStaticJoin is the version of JoinGroup that brought static members (Kafka 2.3). A broker that has it has the
// field in the other requests, too.
const firstStaticJoin = 5

// instanceID returns what requests of a static member have, nil for others. Each request with the id of a member has
// it: without it a broker would not notice that another process has taken the place.
func (c *Client) instanceID(cn *conn) (*string, error) {
	id := c.cfg.InstanceID
	switch {
	case id == "":
		return nil, nil
	case cn.maxVersions[apiJoinGroup] < firstStaticJoin: // the request would be without it
		return nil, ibm.ErrUnsupportedVersion
	}
	return &id, nil
}
