import { inNamespace, run, type LabPlace } from "./lab-place.ts";

/** A machine of the lab: a network namespace with one address. */
export interface LabNode {
  readonly name: string;
  readonly namespace: string;
  /** Where it listens; behind NAT only it knows this one. */
  readonly address: string;
  /** Where its packets seem to come from. */
  readonly seenAs: string;
  /** Namespace of its NAT gateway, where it has one. */
  readonly gateway: string | undefined;
}

/** How the cut between two nodes is: both ways, or only what the first sends is lost. */
export type Cut = "both" | "forth";

/**
 * A network of its own: a router, and nodes around it, each with a link of its own. Nothing of it touches the machine's
 * network. What is cut is dropped without a word, connections that stand included, as a broken network does it.
 */
export class LabNetwork {
  readonly #place: LabPlace;
  readonly #router: string;
  readonly #nodes = new Map<string, LabNode>();

  private constructor(place: LabPlace, router: string) {
    this.#place = place;
    this.#router = router;
  }

  static async make(place: LabPlace): Promise<LabNetwork> {
    const router = await place.addNamespace("router");
    await forward(router);
    await nft(
      router,
      `table ip lab {
        set cut { type ipv4_addr . ipv4_addr; }
        chain forward { type filter hook forward priority 0; policy accept; ip saddr . ip daddr @cut drop; }
      }`,
    );
    return new LabNetwork(place, router);
  }

  /** Adds a node; behind NAT it can dial out, and nobody can dial it. */
  async add(name: string, how: { readonly nat: boolean } = { nat: false }): Promise<LabNode> {
    const subnet = this.#nodes.size + 1;
    const outer = `10.77.${subnet}`;
    const inner = `10.78.${subnet}`;
    const namespace = await this.#place.addNamespace(name);
    let gateway: string | undefined;
    if (how.nat) {
      gateway = await this.#place.addNamespace(`${name}-nat`);
      await forward(gateway);
      await cable(gateway, "outside", `${outer}.2`, this.#router, `n${subnet}`, `${outer}.1`);
      await cable(namespace, "eth0", `${inner}.2`, gateway, "inside", `${inner}.1`);
      await nft(gateway, "table ip lab {\n chain out {\n type nat hook postrouting priority 100; oifname outside masquerade;\n }\n }");
    } else {
      await cable(namespace, "eth0", `${outer}.2`, this.#router, `n${subnet}`, `${outer}.1`);
    }
    const node: LabNode = { name, namespace, address: how.nat ? `${inner}.2` : `${outer}.2`, seenAs: `${outer}.2`, gateway };
    this.#nodes.set(name, node);
    return node;
  }

  node(name: string): LabNode {
    const node = this.#nodes.get(name);
    if (node === undefined) throw new Error(`the lab has no node ${name}`);
    return node;
  }

  /** Cuts two nodes apart. Idempotent. */
  async cut(from: string, to: string, how: Cut = "both"): Promise<void> {
    await nft(this.#router, `add element ip lab cut { ${this.#pairs(from, to, how)} }`);
  }

  /** Joins two nodes again. Idempotent. */
  async heal(from: string, to: string): Promise<void> {
    // What is not in the set cannot be deleted from it, so it is put there first; one transaction.
    const pairs = this.#pairs(from, to, "both");
    await nft(this.#router, `add element ip lab cut { ${pairs} }\ndelete element ip lab cut { ${pairs} }`);
  }

  async healAll(): Promise<void> {
    await nft(this.#router, "flush set ip lab cut");
  }

  /** Sends what a node behind NAT dials at an address to a port of its gateway instead. */
  async redirect(name: string, to: { readonly address: string; readonly port: number }, port: number): Promise<void> {
    const { gateway } = this.node(name);
    if (gateway === undefined) throw new Error(`${name} has no gateway`);
    await nft(
      gateway,
      `table ip lab {
        chain in { type nat hook prerouting priority -100; iifname inside ip daddr ${to.address} tcp dport ${to.port} redirect to :${port}
        }
      }`,
    );
  }

  #pairs(from: string, to: string, how: Cut): string {
    const [a, b] = [this.node(from).seenAs, this.node(to).seenAs];
    return how === "both" ? `${a} . ${b}, ${b} . ${a}` : `${a} . ${b}`;
  }
}

async function nft(namespace: string, rules: string): Promise<void> {
  const [program, ...args] = inNamespace(namespace);
  await run(program, [...args, "nft", "-f", "-"], rules);
}

async function forward(namespace: string): Promise<void> {
  const [program, ...args] = inNamespace(namespace);
  await run(program, [...args, "tee", "/proc/sys/net/ipv4/ip_forward"], "1");
}

/** A pair of virtual interfaces; the first side's default route goes through the second. */
async function cable(a: string, nameA: string, addressA: string, b: string, nameB: string, addressB: string): Promise<void> {
  await run("ip", ["-n", a, "link", "add", "name", nameA, "type", "veth", "peer", "name", nameB, "netns", b]);
  await run("ip", ["-n", a, "addr", "add", `${addressA}/30`, "dev", nameA]);
  await run("ip", ["-n", b, "addr", "add", `${addressB}/30`, "dev", nameB]);
  await run("ip", ["-n", a, "link", "set", "dev", nameA, "up"]);
  await run("ip", ["-n", b, "link", "set", "dev", nameB, "up"]);
  await run("ip", ["-n", a, "route", "add", "default", "via", addressB]);
}
