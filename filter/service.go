package filter

import (
	"slices"
	"strings"
)

// serviceNames are the names of well-known ports as IANA registers them and as
// people call them; the first of a port is the one that is shown.
const serviceNames = `
1 tcpmux
7 echo
9 discard
11 systat
13 daytime
17 qotd
19 chargen
20 ftp-data
21 ftp
22 ssh
23 telnet
25 smtp
37 time
43 whois
49 tacacs
53 domain dns
67 bootps dhcp dhcps
68 bootpc dhcpc
69 tftp
70 gopher
79 finger
80 http www
88 kerberos
102 iso-tsap
110 pop3
111 sunrpc portmapper rpcbind
113 auth ident
119 nntp
123 ntp
135 epmap msrpc
137 netbios-ns
138 netbios-dgm
139 netbios-ssn
143 imap imap2
161 snmp
162 snmptrap snmp-trap
177 xdmcp
179 bgp
194 irc
389 ldap
427 svrloc slp
443 https
445 microsoft-ds smb cifs
464 kpasswd
465 submissions smtps
500 isakmp ike
502 mbap modbus
512 exec biff
513 login who
514 shell syslog
515 printer lpd
520 router rip
521 ripng
523 ibm-db2
530 courier
540 uucp
543 klogin
544 kshell
546 dhcpv6-client
547 dhcpv6-server dhcpv6
548 afpovertcp afp
554 rtsp
563 nntps
587 submission
593 http-rpc-epmap
623 asf-rmcp ipmi
631 ipp cups
636 ldaps
646 ldp
647 dhcp-failover
691 msexch-routing
705 agentx
749 kerberos-adm
853 domain-s dns-over-tls dot
860 iscsi-system
873 rsync
902 vmware-auth
989 ftps-data
990 ftps
992 telnets
993 imaps
995 pop3s
1080 socks
1099 rmiregistry
1194 openvpn
1433 ms-sql-s mssql
1434 ms-sql-m
1494 ica
1521 oracle
1701 l2tp l2f
1720 h323hostcall h323
1723 pptp
1812 radius
1813 radius-acct
1883 mqtt
1900 ssdp
1985 hsrp
2049 nfs
2055 netflow
2123 gtp-control gtp-c
2152 gtp-user gtp-u
2181 zookeeper
2375 docker
2376 docker-s
2379 etcd-client
2380 etcd-server
2404 iec-104
3000 grafana
3128 squid
3205 isns
3260 iscsi-target iscsi
3268 msft-gc
3269 msft-gc-ssl
3306 mysql
3389 ms-wbt-server rdp
3478 stun turn
3544 teredo
3690 svn
3784 bfd-control bfd
3868 diameter
4369 epmd
4500 ipsec-nat-t nat-t
4730 gearman
4739 ipfix
4740 ipfixs
4786 smart-install
4789 vxlan
4840 opcua-tcp
5004 rtp
5005 rtcp
5044 beats
5060 sip
5061 sips
5201 iperf3
5222 xmpp-client jabber
5269 xmpp-server
5349 stuns
5353 mdns
5355 llmnr
5432 postgresql postgres
5601 kibana
5631 pcanywheredata
5671 amqps
5672 amqp
5683 coap
5684 coaps
5900 rfb vnc
5938 teamviewer
5985 wsman winrm
5986 wsmans
6000 x11
6081 geneve
6343 sflow
6379 redis
6443 kubernetes
6514 syslog-tls
6653 openflow
6667 ircu
7000 afs3-fileserver
7001 weblogic
8080 http-alt http-proxy
8086 influxdb
8333 bitcoin
8443 https-alt pcsync-https
8883 secure-mqtt mqtts
9042 cassandra
9090 websm prometheus
9092 kafka
9100 pdl-datastream jetdirect
9200 elasticsearch
9418 git
9995 nfcapd
10000 ndmp
10050 zabbix-agent
10051 zabbix-trapper
10250 kubelet
11211 memcache memcached
15672 rabbitmq
20000 dnp
27017 mongodb
47808 bacnet
50000 db2
51820 wireguard
`

var portOf, serviceOf = func() (map[string]uint16, map[uint16]string) {
	ports, names := make(map[string]uint16), make(map[uint16]string)
	for line := range strings.Lines(serviceNames) {
		words := strings.Fields(line)
		if len(words) < 2 {
			continue
		}
		n, ok := parseNumber(words[0])
		if !ok || n > 65535 {
			panic("filter: service " + line)
		}
		names[uint16(n)] = words[1]
		for _, w := range words[1:] {
			if _, twice := ports[w]; twice {
				panic("filter: service " + w + " has two ports")
			}
			ports[w] = uint16(n)
		}
	}
	return ports, names
}()

// ServicePort returns the port that a service is known by, https and the like.
func ServicePort(name string) (port uint16, ok bool) {
	port, ok = portOf[strings.ToLower(name)]
	return port, ok
}

func servicePort(name string) (span, bool) {
	n, ok := ServicePort(name)
	return span{uint64(n), uint64(n)}, ok
}

// ServiceName returns what a well-known port is called, "" for others.
func ServiceName(port uint16) string { return serviceOf[port] }

func services() []string {
	out := make([]string, 0, len(portOf))
	for s := range portOf {
		out = append(out, s)
	}
	slices.Sort(out)
	return out
}
