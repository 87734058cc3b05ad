package sim

// flaw is a mistake that somebody could make who writes such a store.
type flaw string

const (
	none                 flaw = ""
	blindRetry           flaw = "a commit without an answer is sent again, with another marker"
	believesAbsence      flaw = "no marker is taken for a commit that never comes"
	resolverDeletes      flaw = "the resolver deletes the marker"
	silenceIsFailure     flaw = "no answer is told as nothing written"
	noLease              flaw = "markers expire, and late commits are made all the same"
	leaseAgain           flaw = "a lease is granted again under its old id"
	markerIgnored        flaw = "the server does not look at the marker"
	guardsBeforeMarker   flaw = "the guards are checked before the marker"
	noPoll               flaw = "a wake-up is lost, and nobody polls"
	compactedByOne       flaw = "the feed goes on though one commit too much is compacted"
	compactedSkipped     flaw = "the feed skips what is compacted"
	sequence             flaw = "the feed is in the order of a sequence"
	gapSkipped           flaw = "the feed waits for a gap, and then skips it"
	notSerialized        flaw = "a commit sees the store as it was when it began"
	commitSplit          flaw = "the changes of a commit come in two parts"
	changeLost           flaw = "the first change of a commit is lost on the way"
	fingerprintUnchecked flaw = "a commit loses its changes, and no fingerprint says so"
	progressTooFar       flaw = "progress is told before the commits"
	resumesAtHead        flaw = "a broken watch goes on at the head"
	trustsSilence        flaw = "a frozen member is not left"
	nameOutside          flaw = "the name is checked outside the transaction"
	guardMissing         flaw = "an update does not check the revision"
	createReplaces       flaw = "a create replaces the status with the id"
	failoverUnnoticed    flaw = "a failover is not noticed"
	failoverBehind       flaw = "a failover is not noticed by who is behind what is lost"
	guardRevision        flaw = "an update checks the revision alone, while another history is loaded"
	staleLoad            flaw = "a load reads from a replica"
	staleRevision        flaw = "the revision comes from a replica"
	tornLoad             flaw = "a load is not of one instant"
	earlierRevision      flaw = "a commit returns the revision before its own"
)

var flaws = []flaw{
	blindRetry, believesAbsence, resolverDeletes, silenceIsFailure, noLease, leaseAgain, markerIgnored,
	guardsBeforeMarker, noPoll, compactedByOne, compactedSkipped, sequence,
	gapSkipped, notSerialized, commitSplit, changeLost, fingerprintUnchecked, progressTooFar, resumesAtHead,
	trustsSilence, nameOutside, guardMissing, createReplaces, failoverUnnoticed, failoverBehind, guardRevision, staleLoad, staleRevision,
	tornLoad, earlierRevision,
}
