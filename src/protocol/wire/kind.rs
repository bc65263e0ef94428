//! The kinds of frames, and who may send which.

/// Who is at the other end of a connection, by certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sender {
    /// A member of the roster.
    Node,
    /// A client.
    Client,
    /// An administrator.
    Admin,
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $value:literal,)*) => {
        /// What a frame is.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Kind {
            $($(#[$doc])* $name = $value,)*
        }

        impl Kind {
            /// The kind with this number.
            #[must_use]
            pub const fn from_u8(value: u8) -> Option<Self> {
                match value {
                    $($value => Some(Self::$name),)*
                    _ => None,
                }
            }

            /// Every kind there is.
            pub const ALL: &[Self] = &[$(Self::$name,)*];
        }
    };
}

kinds! {
    /// The first frame of each direction of a connection.
    Hello = 1,
    /// The answer to a frame that could not be carried out: a [`super::Failure`].
    Error = 2,
    /// Asks whether the other end is alive.
    Ping = 3,
    /// It is.
    Pong = 4,
    /// Asks a peer which disk of the asker's it remembers: a fresh one may be a lost one.
    Vouch = 5,
    /// The disk, or none.
    Vouched = 6,
    /// Asks a member what it believes of all members.
    Members = 8,
    /// What it does.
    MembersReply = 9,
    /// Makes an uninitialised node a member of a new cluster.
    Create = 16,
    /// It is one now.
    Created = 17,
    /// Asks for the creation record, secrets included.
    State = 18,
    /// The record, or none.
    StateReply = 19,
    /// Asks how a node sees itself and its peers.
    Status = 20,
    /// How it does.
    StatusReply = 21,
    /// Asks for roster, layout and ports.
    View = 22,
    /// Roster, layout and ports.
    ViewReply = 23,
    /// Asks what a node has counted.
    Counts = 24,
    /// What it has.
    CountsReply = 25,
    /// Reads an item.
    Get = 32,
    /// Its versions and context.
    GetReply = 33,
    /// Writes or deletes an item.
    Put = 34,
    /// Where it is stored.
    PutReply = 35,
    /// Lists the addresses of a partition.
    Scan = 36,
    /// A page of them.
    ScanReply = 37,
    /// Asks a node what it holds of an item: heads, never values.
    Inspect = 38,
    /// What it holds.
    InspectReply = 39,
    /// Asks a replica for its copy of an item.
    Read = 48,
    /// The copy.
    ReadReply = 49,
    /// Gives a replica an item to join.
    Merge = 50,
    /// It is joined.
    MergeReply = 51,
    /// Gives a stand-in an item to keep for an owner that cannot be reached.
    Hint = 52,
    /// It is kept.
    HintReply = 53,
    /// Asks a replica for sums of its hash tree.
    Compare = 56,
    /// The sums.
    CompareReply = 57,
    /// Asks a replica which items of a leaf it has.
    Keys = 58,
    /// A page of them.
    KeysReply = 59,
    /// Tells a replica what the asker's clock covered before everything was made equal.
    Settle = 60,
    /// It covers that too now.
    Settled = 61,
    /// Asks an owner whether items may be reaped, and a member what it keeps for their partition.
    Confirm = 64,
    /// What it has, and what it keeps.
    ConfirmReply = 65,
    /// Tells an owner which items all owners confirmed.
    Reap = 66,
    /// Those that had not changed are reaped.
    Reaped = 67,
}

impl Kind {
    /// The kind as its number.
    #[must_use]
    pub const fn as_u8(self) -> u8 {
        self as u8
    }

    /// Whether a sender may ask this of a node. Clients never send dots, merges or hints: a client that could would be
    /// able to overwrite what it has not seen.
    #[must_use]
    pub const fn may_ask(self, sender: Sender) -> bool {
        match self {
            Self::Hello
            | Self::Ping
            | Self::View
            | Self::Status
            | Self::Counts
            | Self::Get
            | Self::Put
            | Self::Scan => true,
            Self::Inspect => matches!(sender, Sender::Client | Sender::Admin),
            Self::Create | Self::State => matches!(sender, Sender::Admin),
            Self::Read
            | Self::Merge
            | Self::Hint
            | Self::Compare
            | Self::Keys
            | Self::Settle
            | Self::Confirm
            | Self::Reap
            | Self::Vouch
            | Self::Members => {
                matches!(sender, Sender::Node)
            }
            Self::Error
            | Self::Pong
            | Self::Vouched
            | Self::MembersReply
            | Self::Created
            | Self::StateReply
            | Self::StatusReply
            | Self::ViewReply
            | Self::CountsReply
            | Self::GetReply
            | Self::PutReply
            | Self::ScanReply
            | Self::InspectReply
            | Self::ReadReply
            | Self::MergeReply
            | Self::HintReply
            | Self::CompareReply
            | Self::KeysReply
            | Self::Settled
            | Self::ConfirmReply
            | Self::Reaped => false,
        }
    }

    /// Whether this is an answer.
    #[must_use]
    pub const fn is_reply(self) -> bool {
        matches!(
            self,
            Self::Error
                | Self::Pong
                | Self::Vouched
                | Self::MembersReply
                | Self::Created
                | Self::StateReply
                | Self::StatusReply
                | Self::ViewReply
                | Self::CountsReply
                | Self::GetReply
                | Self::PutReply
                | Self::ScanReply
                | Self::InspectReply
                | Self::ReadReply
                | Self::MergeReply
                | Self::HintReply
                | Self::CompareReply
                | Self::KeysReply
                | Self::Settled
                | Self::ConfirmReply
                | Self::Reaped
        )
    }
}
