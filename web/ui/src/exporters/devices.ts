// What to type on a device to have it send here, to the letter. Words in capitals are to
// be replaced by who knows the device: an interface, its own address.

import { endpoint, type Target } from '../listen';

export interface Device {
  id: string;
  name: string;
  /** where says on what, and what is to be replaced. */
  where: string;
  lines: string;
  /** soon says when the first flow comes, after which nothing coming is a sign. */
  soon: string;
}

const minute = 'Flows come when a conversation ends, and each minute while it lasts.';
const states = 'A flow comes when its state ends in pf: for long connections that may be hours.';

/** devices are those with lines, for a place to send to. */
export const devices = (t: Pick<Target, 'host' | 'port'>): Device[] => {
  const at = endpoint(t);
  const { host, port } = t;
  return [
    {
      id: 'flowtally',
      name: 'flowtally exporter',
      where: 'On a machine that sees the packets: a mirror port, a tunnel, or a capture file. INTERFACE is what it listens on.',
      lines: [`flowtally exporter --interface INTERFACE --to ${at}`, ``, `# VXLAN mirrors of others end here, each client by its name`, `flowtally exporter --listen-vxlan :4789 --client 10.0.0.5/42=web --to ${at}`, ``, `flowtally exporter --read capture.pcap --to ${at}`].join('\n'),
      soon: 'It tells its own losses, its interfaces and its sampling by itself. ' + minute,
    },
    {
      id: 'linux',
      name: 'Linux',
      where: 'softflowd from the distribution; for a busy link flowtally exporter drops less. INTERFACE is what is watched.',
      lines: [`apt install softflowd    # or: dnf install softflowd`, `softflowd -i INTERFACE -n ${at} -v 10 -t maxlife=60`].join('\n'),
      soon: minute,
    },
    {
      id: 'softflowd',
      name: 'softflowd',
      where: 'On Linux or BSD. -v 10 is IPFIX, 9 is NetFlow v9; maxlife ends long flows each minute.',
      lines: `softflowd -i INTERFACE -n ${at} -v 10 -t maxlife=60`,
      soon: minute,
    },
    {
      id: 'openbsd',
      name: 'OpenBSD pf',
      where: 'pflow(4) tells what pf knows of its states. FIREWALL is the address that the firewall sends from.',
      lines: [`# /etc/hostname.pflow0`, `flowsrc FIREWALL flowdst ${at}`, `pflowproto 10`, ``, `# /etc/pf.conf`, `set state-defaults pflow`, ``, `# now`, `sh /etc/netstart pflow0 && pfctl -f /etc/pf.conf`].join('\n'),
      soon: states,
    },
    {
      id: 'freebsd',
      name: 'FreeBSD pf',
      where: 'FreeBSD 15 has pflow(4); before that, softflowd from packages. FIREWALL is the address that the firewall sends from.',
      lines: [`kldload pflow`, `pflowctl -c`, `pflowctl -s pflow0 src FIREWALL dst ${at} proto 10`, ``, `# /etc/pf.conf`, `set state-defaults pflow`, ``, `# now`, `pfctl -f /etc/pf.conf`, ``, `# before FreeBSD 15`, `pkg install softflowd`, `softflowd -i INTERFACE -n ${at} -v 10 -t maxlife=60`].join('\n'),
      soon: states,
    },
    {
      id: 'pfsense',
      name: 'pfSense',
      where: 'pfSense Plus 24.03 or later exports by itself; pfSense CE has the package softflowd.',
      lines: [`pfSense Plus: Firewall > Packet Flow Data`, `  Enable, and track all rules by default`, `  add an exporter: destination ${host}, port ${port}, protocol IPFIX`, ``, `pfSense CE: System > Package Manager > install softflowd`, `  Services > softflowd: the interfaces`, `  Host ${host}, Port ${port}, Netflow version 9, Maximum Lifetime 60`].join('\n'),
      soon: states + ' Existing states are not told: new connections are.',
    },
    {
      id: 'opnsense',
      name: 'OPNsense',
      where: 'In its web page. Choose the WAN interfaces, or egress is counted twice behind address translation.',
      lines: [`Reporting > NetFlow`, `  Listening interfaces: LAN, WAN`, `  WAN interfaces: WAN`, `  Version: v9`, `  Destinations: ${at}`].join('\n'),
      soon: 'Long conversations come each half hour, unless the advanced settings say 60 s.',
    },
    {
      id: 'ios',
      name: 'Cisco IOS, IOS XE',
      where: 'Flexible NetFlow, for each interface to be watched. The last two lines have it tell interface names and sampling.',
      lines: [`flow exporter FLOWTALLY`, ` destination ${host}`, ` transport udp ${port}`, ` export-protocol ipfix`, ` template data timeout 60`, ` option interface-table timeout 60`, ` option sampler-table timeout 60`, `!`, `flow monitor FLOWTALLY`, ` record netflow ipv4 original-input`, ` exporter FLOWTALLY`, ` cache timeout active 60`, ` cache timeout inactive 15`, `!`, `interface GigabitEthernet0/0`, ` ip flow monitor FLOWTALLY input`].join('\n'),
      soon: minute,
    },
    {
      id: 'iosxr',
      name: 'Cisco IOS XR',
      where: 'Sampled: each packet has to be counted 1000 times; the sampler table tells so. Not by way of the management interface.',
      lines: [`flow exporter-map FLOWTALLY`, ` version v9`, `  options interface-table timeout 60`, `  options sampler-table timeout 60`, `  template timeout 60`, ` !`, ` transport udp ${port}`, ` source Loopback0`, ` destination ${host}`, `!`, `flow monitor-map FLOWTALLY`, ` record ipv4`, ` exporter FLOWTALLY`, ` cache timeout active 60`, ` cache timeout inactive 15`, `!`, `sampler-map FLOWTALLY`, ` random 1 out-of 1000`, `!`, `interface GigabitEthernet0/0/0/0`, ` flow ipv4 monitor FLOWTALLY sampler FLOWTALLY ingress`, `commit`].join('\n'),
      soon: minute,
    },
    {
      id: 'nxos',
      name: 'Cisco NX-OS',
      where: 'Nexus 7000 and 9000. Some line cards want a sampler beside the monitor.',
      lines: [`feature netflow`, `flow timeout active 60`, `flow exporter FLOWTALLY`, `  destination ${host}`, `  transport udp ${port}`, `  source loopback0`, `  version 9`, `    template data timeout 60`, `    option interface-table timeout 60`, `flow monitor FLOWTALLY`, `  record netflow-original`, `  exporter FLOWTALLY`, `interface Ethernet1/1`, `  ip flow monitor FLOWTALLY input`].join('\n'),
      soon: minute,
    },
    {
      id: 'asa',
      name: 'Cisco ASA',
      where: 'NSEL: what the firewall did are events, on the page of that name; bytes come with its updates. inside is the interface that leads here.',
      lines: [`flow-export destination inside ${host} ${port}`, `flow-export template timeout-rate 1`, `flow-export active refresh-interval 1`, `policy-map global_policy`, ` class class-default`, `  flow-export event-type all destination ${host}`, `service-policy global_policy global`].join('\n'),
      soon: 'A connection’s update comes each minute, the rest when it ends.',
    },
    {
      id: 'juniper',
      name: 'Juniper MX',
      where: 'Inline flow monitoring, 1 in 1000; ROUTER is its own address, the interface and fpc are yours. SRX and PTX differ in the chassis line.',
      lines: [
        `set services flow-monitoring version-ipfix template FLOWTALLY ipv4-template`,
        `set services flow-monitoring version-ipfix template FLOWTALLY flow-active-timeout 60`,
        `set services flow-monitoring version-ipfix template FLOWTALLY flow-inactive-timeout 15`,
        `set services flow-monitoring version-ipfix template FLOWTALLY template-refresh-rate seconds 60`,
        `set services flow-monitoring version-ipfix template FLOWTALLY option-refresh-rate seconds 60`,
        `set forwarding-options sampling instance FLOWTALLY input rate 1000`,
        `set forwarding-options sampling instance FLOWTALLY family inet output flow-server ${host} port ${port}`,
        `set forwarding-options sampling instance FLOWTALLY family inet output flow-server ${host} version-ipfix template FLOWTALLY`,
        `set forwarding-options sampling instance FLOWTALLY family inet output inline-jflow source-address ROUTER`,
        `set chassis fpc 0 sampling-instance FLOWTALLY`,
        `set interfaces ge-0/0/0 unit 0 family inet sampling input`,
        `commit`,
      ].join('\n'),
      soon: minute,
    },
    {
      id: 'arista',
      name: 'Arista',
      where: 'EOS, sampled flow tracking as IPFIX. Not the sflow commands: sFlow is another protocol.',
      lines: [`flow tracking sampled`, `   sample 1024`, `   tracker FLOWTALLY`, `      record export on inactive timeout 15000`, `      record export on interval 60000`, `      exporter FLOWTALLY`, `         collector ${host} port ${port}`, `         local interface Loopback0`, `         template interval 60000`, `   no shutdown`, `!`, `interface Ethernet1`, `   flow tracker sampled FLOWTALLY`].join('\n'),
      soon: minute,
    },
    {
      id: 'mikrotik',
      name: 'MikroTik',
      where: 'RouterOS 7. What fast-path forwards is counted as well; hardware-offloaded bridges are not.',
      lines: [`/ip traffic-flow set enabled=yes interfaces=all active-flow-timeout=1m`, `/ip traffic-flow target add dst-address=${host} port=${port} version=ipfix v9-template-timeout=1m`].join('\n'),
      soon: minute,
    },
    {
      id: 'fortinet',
      name: 'Fortinet',
      where: 'FortiOS 7.4.2 or later has the list of collectors; before, collector-ip and collector-port stand without it. FIREWALL is its own address.',
      lines: [`config system netflow`, `    set active-flow-timeout 60`, `    set template-tx-timeout 60`, `    config collectors`, `        edit 1`, `            set collector-ip ${host}`, `            set collector-port ${port}`, `            set source-ip FIREWALL`, `        next`, `    end`, `end`, `config system interface`, `    edit port1`, `        set netflow-sampler both`, `    next`, `end`].join('\n'),
      soon: minute,
    },
    {
      id: 'paloalto',
      name: 'Palo Alto',
      where: 'PAN-OS, in configure mode; or Device > Server Profiles > NetFlow, and the profile on each interface. It sends by its management port unless a service route says otherwise.',
      lines: [`set shared server-profile netflow FLOWTALLY server collector host ${host} port ${port}`, `set shared server-profile netflow FLOWTALLY active-timeout 1`, `set shared server-profile netflow FLOWTALLY template-refresh-rate minutes 1`, `set network interface ethernet ethernet1/1 layer3 netflow-profile FLOWTALLY`, `commit`].join('\n'),
      soon: minute,
    },
    {
      id: 'huawei',
      name: 'Huawei',
      where: 'NetStream, as NetFlow v9. ROUTER is its own address. NetEngine wants a slot’s sampling beside it: ip netstream sampler.',
      lines: [`system-view`, `ip netstream export version 9`, `ip netstream export source ROUTER`, `ip netstream export host ${host} ${port}`, `ip netstream export template timeout-rate 1`, `ip netstream timeout active 1`, `interface GigabitEthernet0/0/1`, ` ip netstream inbound`, ` ip netstream outbound`].join('\n'),
      soon: minute,
    },
    {
      id: 'ovs',
      name: 'Open vSwitch',
      where: 'IPFIX of a bridge. sampling=1 is every packet; 64 is one in 64.',
      lines: [`ovs-vsctl -- set Bridge br0 ipfix=@i -- \\`, `  --id=@i create IPFIX targets='"${at}"' \\`, `  obs_domain_id=1 obs_point_id=1 sampling=1 \\`, `  cache_active_timeout=60 cache_max_flows=65536`].join('\n'),
      soon: 'Templates come each ten minutes: until the first, nothing can be read.',
    },
  ];
};
