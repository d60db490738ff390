package kafkatest

// SelfSigned gives tests a certificate authority that no node knows.
var SelfSigned = selfSigned
