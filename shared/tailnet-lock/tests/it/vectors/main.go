// Makes vectors.json with the library of the Go client: go run . >vectors.json
//
// Keys are drawn anew each time. What the client says of each message is written beside it.
package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"os"
	"time"

	"github.com/hdevalence/ed25519consensus"
	"tailscale.com/tka"
	"tailscale.com/types/key"
	"tailscale.com/types/tkatype"
)

// A update is one in a log, with the head after the client was told of it; empty when the client refused it.
type update struct {
	Name, Bytes, Hash, SignedHash, Head string
}

// An offer is what a client offers that knows the first updates of a log, and what it gets.
type offer struct {
	Known     int
	Head      string
	Ancestors []string
	Missing   []string
}

type updateLog struct {
	Name    string
	Updates []update
	Offers  []offer
	// What clients keep that know the first updates of a log and have forgotten what they may forget.
	Compacted []compacted
	Trusted   []string
}

type compacted struct {
	Head, Oldest string
	Kept         []string
}

type nodeSignature struct {
	Name, NodeKey, Bytes string
	Authorized           bool
	FormerKeys           []string
}

type edSignature struct {
	Name, Key, Message, Signature string
	Trusted, Rotation             bool
}

type vectors struct {
	DisablementSecret, DisablementValue string
	Logs                                []updateLog
	Genesis                             string
	NodeSignatures                      []nodeSignature
	Ed25519                             []edSignature
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

var secret = bytes.Repeat([]byte{7}, 32)

func lockKey(signer key.NLPrivate, votes uint, meta map[string]string) tka.Key {
	return tka.Key{Kind: tka.Key25519, Public: signer.KeyID(), Votes: votes, Meta: meta}
}

type recorder struct {
	log       updateLog
	all       []tka.AUM
	authority *tka.Authority
	storage   *tka.Mem
}

func begin(name string, signer key.NLPrivate, keys ...tka.Key) *recorder {
	storage := tka.ChonkMem()
	state := tka.State{Keys: keys, DisablementValues: [][]byte{tka.DisablementKDF(secret)}, StateID1: 1 << 40, StateID2: 5}
	authority, genesis, err := tka.Create(storage, state, signer)
	if err != nil {
		panic(err)
	}
	r := &recorder{authority: authority, storage: storage}
	r.log.Name = name
	r.note("genesis", genesis, true)
	return r
}

func (r *recorder) note(name string, aum tka.AUM, taken bool) {
	hash, signed := aum.Hash(), aum.SigHash()
	one := update{Name: name, Bytes: hex.EncodeToString(aum.Serialize()), Hash: hash.String(), SignedHash: hex.EncodeToString(signed[:])}
	if taken {
		one.Head = r.authority.Head().String()
		r.all = append(r.all, aum)
	}
	r.log.Updates = append(r.log.Updates, one)
}

// tell lets the client judge an update.
func (r *recorder) tell(name string, aum tka.AUM) {
	err := r.authority.Inform(r.storage, []tka.AUM{aum})
	r.note(name, aum, err == nil)
}

func (r *recorder) change(name string, signer key.NLPrivate, change func(*tka.UpdateBuilder) error) {
	builder := r.authority.NewUpdater(signer)
	if err := change(builder); err != nil {
		panic(err)
	}
	for _, aum := range must(builder.Finalize(r.storage)) {
		r.tell(name, aum)
	}
}

// parent returns the hash of the head, for what follows it.
func (r *recorder) parent() []byte {
	head := r.authority.Head()
	return bytes.Clone(head[:])
}

func sign(aum tka.AUM, signers ...key.NLPrivate) tka.AUM {
	for _, signer := range signers {
		aum.Signatures = append(aum.Signatures, must(signer.SignAUM(aum.SigHash()))...)
	}
	return aum
}

// finish notes what clients are told that know fewer updates, and what is trusted in the end.
func (r *recorder) finish() updateLog {
	for known := 1; known <= len(r.all); known += 1 + len(r.all)/8 {
		storage := tka.ChonkMem()
		client := must(tka.Bootstrap(storage, r.all[0]))
		for _, aum := range r.all[1:known] {
			if err := client.Inform(storage, []tka.AUM{aum}); err != nil {
				panic(err)
			}
		}
		sent := must(client.SyncOffer(storage))
		head, ancestors, err := tka.FromSyncOffer(sent)
		if err != nil {
			panic(err)
		}
		one := offer{Known: known, Head: head, Ancestors: ancestors, Missing: []string{}}
		for _, aum := range must(r.authority.MissingAUMs(r.storage, sent)) {
			one.Missing = append(one.Missing, aum.Hash().String())
		}
		r.log.Offers = append(r.log.Offers, one)
	}
	for known := 60; known < len(r.all); known += 30 {
		storage := tka.ChonkMem()
		client := must(tka.Bootstrap(storage, r.all[0]))
		if err := client.Inform(storage, r.all[1:known]); err != nil {
			panic(err)
		}
		if err := client.Compact(storage, tka.CompactionOptions{MinChain: tka.CompactionDefaults.MinChain, MinAge: time.Nanosecond}); err != nil {
			panic(err)
		}
		sent := must(client.SyncOffer(storage))
		one := compacted{Head: sent.Head.String(), Oldest: sent.Ancestors[len(sent.Ancestors)-1].String()}
		for _, kept := range must(storage.AllAUMs()) {
			one.Kept = append(one.Kept, kept.String())
		}
		r.log.Compacted = append(r.log.Compacted, one)
	}
	for _, trusted := range r.authority.Keys() {
		r.log.Trusted = append(r.log.Trusted, hex.EncodeToString(trusted.Public))
	}
	return r.log
}

func everyKind() updateLog {
	one, two, three, stranger := key.NewNLPrivate(), key.NewNLPrivate(), key.NewNLPrivate(), key.NewNLPrivate()
	r := begin("every kind", one, lockKey(one, 2, map[string]string{"zz": "1", "a": "2", "bbb": "ü"}), lockKey(two, 1, nil))
	r.change("add", one, func(b *tka.UpdateBuilder) error { return b.AddKey(lockKey(three, 3, nil)) })
	r.change("votes", two, func(b *tka.UpdateBuilder) error { return b.SetKeyVote(three.KeyID(), 300) })
	r.change("metadata", two, func(b *tka.UpdateBuilder) error {
		return b.SetKeyMeta(three.KeyID(), map[string]string{"name": "a key"})
	})
	r.tell("nothing", sign(tka.AUM{MessageKind: tka.AUMNoOp, PrevAUMHash: r.parent()}, one))
	r.tell("unknown kind", sign(tka.AUM{MessageKind: 77, PrevAUMHash: r.parent()}, one, two))
	parent := r.parent()
	added := lockKey(stranger, 1, nil)
	r.tell("unsigned", tka.AUM{MessageKind: tka.AUMAddKey, PrevAUMHash: parent, Key: &added})
	r.tell("signed by a stranger", sign(tka.AUM{MessageKind: tka.AUMAddKey, PrevAUMHash: parent, Key: &added}, one, stranger))
	r.tell("without parent", sign(tka.AUM{MessageKind: tka.AUMAddKey, Key: &added}, one))
	r.tell("unknown parent", sign(tka.AUM{MessageKind: tka.AUMAddKey, PrevAUMHash: bytes.Repeat([]byte{1}, 32), Key: &added}, one))
	again := lockKey(two, 1, nil)
	r.tell("a key again", sign(tka.AUM{MessageKind: tka.AUMAddKey, PrevAUMHash: parent, Key: &again}, one))
	r.tell("more than its kind has", sign(tka.AUM{MessageKind: tka.AUMAddKey, PrevAUMHash: parent, Key: &added, KeyID: one.KeyID()}, one))
	heavy := lockKey(stranger, 4097, nil)
	r.tell("too many votes", sign(tka.AUM{MessageKind: tka.AUMAddKey, PrevAUMHash: parent, Key: &heavy}, one))
	light := lockKey(stranger, 0, nil)
	r.tell("no votes", sign(tka.AUM{MessageKind: tka.AUMAddKey, PrevAUMHash: parent, Key: &light}, one))
	noted := lockKey(stranger, 1, map[string]string{"m": string(bytes.Repeat([]byte("x"), 512))})
	r.tell("too much metadata", sign(tka.AUM{MessageKind: tka.AUMAddKey, PrevAUMHash: parent, Key: &noted}, one))
	other := tka.State{Keys: []tka.Key{lockKey(one, 1, nil)}, DisablementValues: [][]byte{tka.DisablementKDF(secret)}, StateID1: 9}
	r.tell("another lock", sign(tka.AUM{MessageKind: tka.AUMCheckpoint, PrevAUMHash: parent, State: &other}, one))
	twice := other
	twice.StateID1, twice.StateID2 = 1<<40, 5
	twice.DisablementValues = append(twice.DisablementValues, twice.DisablementValues[0])
	r.tell("a disablement value twice", sign(tka.AUM{MessageKind: tka.AUMCheckpoint, PrevAUMHash: parent, State: &twice}, one))
	r.tell("unknown key removed", sign(tka.AUM{MessageKind: tka.AUMRemoveKey, PrevAUMHash: parent, KeyID: stranger.KeyID()}, one))
	forged := sign(tka.AUM{MessageKind: tka.AUMNoOp, PrevAUMHash: parent}, one)
	forged.Signatures[0].Signature[3] ^= 1
	r.tell("a wrong signature", forged)
	r.change("remove", one, func(b *tka.UpdateBuilder) error { return b.RemoveKey(two.KeyID()) })
	r.change("remove again", one, func(b *tka.UpdateBuilder) error { return b.RemoveKey(three.KeyID()) })
	r.tell("the last key removed", sign(tka.AUM{MessageKind: tka.AUMRemoveKey, PrevAUMHash: r.parent(), KeyID: one.KeyID()}, one))
	return r.finish()
}

// Checkpoints come by themselves, each 50 updates.
func long() updateLog {
	one, two := key.NewNLPrivate(), key.NewNLPrivate()
	r := begin("long", one, lockKey(one, 1, nil))
	for range 90 {
		r.change("add", one, func(b *tka.UpdateBuilder) error { return b.AddKey(lockKey(two, 1, nil)) })
		r.change("remove", one, func(b *tka.UpdateBuilder) error { return b.RemoveKey(two.KeyID()) })
	}
	return r.finish()
}

func forks() updateLog {
	one, two, three, four := key.NewNLPrivate(), key.NewNLPrivate(), key.NewNLPrivate(), key.NewNLPrivate()
	r := begin("forks", one, lockKey(one, 1, nil), lockKey(two, 1, nil), lockKey(three, 1, nil), lockKey(four, 2, nil))
	parent := r.parent()
	// By the lowest hash.
	for range 4 {
		added := lockKey(key.NewNLPrivate(), 1, nil)
		r.tell("equal votes", sign(tka.AUM{MessageKind: tka.AUMAddKey, PrevAUMHash: parent, Key: &added}, one))
	}
	r.tell("removes a key", sign(tka.AUM{MessageKind: tka.AUMRemoveKey, PrevAUMHash: parent, KeyID: three.KeyID()}, one))
	added := lockKey(key.NewNLPrivate(), 1, nil)
	r.tell("more votes", sign(tka.AUM{MessageKind: tka.AUMAddKey, PrevAUMHash: parent, Key: &added}, one, two))
	r.change("goes on", four, func(b *tka.UpdateBuilder) error { return b.AddKey(lockKey(key.NewNLPrivate(), 1, nil)) })
	revoked := must(r.authority.MakeRetroactiveRevocation(r.storage, []tkatype.KeyID{one.KeyID(), two.KeyID()}, four.KeyID(), tka.AUMHash(parent)))
	r.tell("revocation with as many votes", sign(*revoked, four))
	r.tell("revocation with more votes", sign(*revoked, four, three))
	return r.finish()
}

func nodeKey() (key.NodePublic, []byte, string) {
	node := key.NewNode().Public()
	raw := node.Raw32()
	return node, must(node.MarshalBinary()), hex.EncodeToString(raw[:])
}

func nodeSignatures(v *vectors) {
	one, stranger := key.NewNLPrivate(), key.NewNLPrivate()
	own, cloned := key.NewNLPrivate(), key.NewNLPrivate()
	storage := tka.ChonkMem()
	state := tka.State{Keys: []tka.Key{lockKey(one, 1, nil)}, DisablementValues: [][]byte{tka.DisablementKDF(secret)}}
	authority, genesis, err := tka.Create(storage, state, one)
	if err != nil {
		panic(err)
	}
	v.Genesis = hex.EncodeToString(genesis.Serialize())
	note := func(name string, node key.NodePublic, text string, signed []byte) {
		details, err := authority.NodeKeyAuthorizedWithDetails(node, signed)
		out := nodeSignature{Name: name, NodeKey: text, Bytes: hex.EncodeToString(signed), Authorized: err == nil}
		if details != nil {
			for _, former := range details.PrevNodeKeys {
				raw := former.Raw32()
				out.FormerKeys = append(out.FormerKeys, hex.EncodeToString(raw[:]))
			}
		}
		v.NodeSignatures = append(v.NodeSignatures, out)
	}
	signed := func(signer key.NLPrivate, s tka.NodeKeySignature) tka.NodeKeySignature {
		s.Signature = must(signer.SignNKS(s.SigHash()))
		return s
	}
	node, raw, text := nodeKey()
	direct := signed(one, tka.NodeKeySignature{SigKind: tka.SigDirect, KeyID: one.KeyID(), Pubkey: raw, WrappingPubkey: own.Public().Verifier()})
	note("direct", node, text, direct.Serialize())
	foreign := signed(stranger, tka.NodeKeySignature{SigKind: tka.SigDirect, KeyID: stranger.KeyID(), Pubkey: raw})
	note("of a stranger", node, text, foreign.Serialize())
	lying := signed(stranger, tka.NodeKeySignature{SigKind: tka.SigDirect, KeyID: one.KeyID(), Pubkey: raw})
	note("of a stranger in another name", node, text, lying.Serialize())
	second, _, secondText := nodeKey()
	note("for another node key", second, secondText, direct.Serialize())
	chain := direct.Serialize()
	for range 20 {
		next, _, nextText := nodeKey()
		chain = must(tka.ResignNKS(own, next, chain))
		note("rotation", next, nextText, chain)
	}
	next, nextRaw, nextText := nodeKey()
	note("rotation by another key", next, nextText, must(tka.ResignNKS(cloned, next, direct.Serialize())))
	unwrapped := signed(one, tka.NodeKeySignature{SigKind: tka.SigDirect, KeyID: one.KeyID(), Pubkey: raw})
	note("rotation of what may not be rotated", next, nextText, must(tka.ResignNKS(own, next, unwrapped.Serialize())))
	note("rotation of nothing", next, nextText, must(json.Marshal(nil)))
	empty := signed(own, tka.NodeKeySignature{SigKind: tka.SigRotation, Pubkey: nextRaw})
	note("rotation without a signature inside", next, nextText, empty.Serialize())
	public, private, _ := ed25519.GenerateKey(rand.Reader)
	credential := signed(one, tka.NodeKeySignature{SigKind: tka.SigCredential, KeyID: one.KeyID(), WrappingPubkey: public})
	note("credential alone", next, nextText, credential.Serialize())
	note("credential with a rotation", next, nextText, must(tka.SignByCredential(private, &credential, next)))
	_, wrong, _ := ed25519.GenerateKey(rand.Reader)
	note("credential with another's rotation", next, nextText, must(tka.SignByCredential(wrong, &credential, next)))
	nested := signed(one, tka.NodeKeySignature{SigKind: tka.SigDirect, KeyID: one.KeyID(), Pubkey: nextRaw, Nested: &direct})
	note("direct with a signature inside", next, nextText, nested.Serialize())
}

// Signatures on which implementations of Ed25519 disagree.
func ed25519Signatures(v *vectors) {
	note := func(name string, public, message, signature []byte) {
		v.Ed25519 = append(v.Ed25519, edSignature{name, hex.EncodeToString(public), hex.EncodeToString(message), hex.EncodeToString(signature),
			ed25519consensus.Verify(public, message, signature), ed25519.Verify(public, message, signature)})
	}
	message := bytes.Repeat([]byte{3}, 32)
	public, private, _ := ed25519.GenerateKey(rand.Reader)
	good := ed25519.Sign(private, message)
	note("good", public, message, good)
	note("short", public, message, good[:63])
	large := bytes.Clone(good)
	order := []byte{0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10}
	carry := 0
	for i := range order {
		sum := int(large[32+i]) + int(order[i]) + carry
		large[32+i], carry = byte(sum), sum>>8
	}
	note("S plus the order", public, message, large)
	small := []string{
		"0100000000000000000000000000000000000000000000000000000000000000",
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"0000000000000000000000000000000000000000000000000000000000000080",
		"0000000000000000000000000000000000000000000000000000000000000000",
		"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
		"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
		"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
		"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
		"0100000000000000000000000000000000000000000000000000000000000080",
		"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
		"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
		"0200000000000000000000000000000000000000000000000000000000000000",
	}
	for _, a := range small {
		for _, r := range small {
			key, point := must(hex.DecodeString(a)), must(hex.DecodeString(r))
			note("points of small order", key, message, append(point, make([]byte, 32)...))
		}
	}
}

func main() {
	v := vectors{DisablementSecret: hex.EncodeToString(secret), DisablementValue: hex.EncodeToString(tka.DisablementKDF(secret))}
	v.Logs = []updateLog{everyKind(), long(), forks()}
	nodeSignatures(&v)
	ed25519Signatures(&v)
	out := json.NewEncoder(os.Stdout)
	out.SetIndent("", " ")
	if err := out.Encode(v); err != nil {
		panic(err)
	}
}
