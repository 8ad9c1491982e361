// What well-known ports are called, in IANA's names, as people who read flows know
// them. Ports above 1023 only where nearly everything that uses them is the service.

const list =
  '7 echo,9 discard,13 daytime,17 qotd,19 chargen,20 ftp-data,21 ftp,22 ssh,23 telnet,25 smtp,37 time,43 whois,49 tacacs,53 domain,67 bootps,68 bootpc,69 tftp,70 gopher,79 finger,' +
  '80 http,88 kerberos,102 iso-tsap,110 pop3,111 sunrpc,113 auth,119 nntp,123 ntp,135 epmap,137 netbios-ns,138 netbios-dgm,139 netbios-ssn,143 imap,161 snmp,162 snmptrap,179 bgp,194 irc,' +
  '264 bgmp,389 ldap,427 svrloc,443 https,445 microsoft-ds,464 kpasswd,465 submissions,500 isakmp,502 mbap,512 exec,513 login,514 syslog,515 printer,520 router,521 ripng,543 klogin,546 dhcpv6-client,' +
  '547 dhcpv6-server,548 afpovertcp,554 rtsp,587 submission,623 asf-rmcp,631 ipp,636 ldaps,646 ldp,853 domain-s,860 iscsi,873 rsync,902 ideafarm-door,989 ftps-data,990 ftps,993 imaps,995 pop3s,' +
  '1080 socks,1194 openvpn,1433 ms-sql-s,1434 ms-sql-m,1521 oracle,1701 l2tp,1723 pptp,1812 radius,1813 radius-acct,1883 mqtt,1900 ssdp,2049 nfs,2055 netflow,2375 docker,2376 docker-s,2379 etcd-client,' +
  '3128 squid,3260 iscsi-target,3268 msft-gc,3306 mysql,3389 ms-wbt-server,3478 stun,3784 bfd-control,4500 ipsec-nat-t,4739 ipfix,4789 vxlan,5060 sip,5061 sips,5222 xmpp-client,5269 xmpp-server,' +
  '5353 mdns,5355 llmnr,5432 postgresql,5672 amqp,5683 coap,5900 vnc,5985 wsman,5986 wsmans,6343 sflow,6379 redis,6443 kubernetes,6514 syslog-tls,6667 ircu,8080 http-alt,8443 https-alt,8883 secure-mqtt,' +
  '9092 kafka,9100 pdl-datastream,9200 elasticsearch,9418 git,9995 netflow,9996 netflow,11211 memcached,27017 mongodb,51820 wireguard';

const names = new Map(list.split(',').map((s) => [Number(s.split(' ')[0]), s.split(' ')[1]!]));

/** service gives the name of a port, or "". */
export const service = (port: number): string => names.get(port) ?? '';
