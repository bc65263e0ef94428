//! Who is who: certificates, the private authority that signs them, and TLS built from both.
//!
//! There is no password and no shared key in Quorate. A cluster is a trust domain with one certificate authority, and
//! everything that opens a connection (node, client, administrator) shows a certificate of that authority:
//!
//! ```text
//! ca.crt        spiffe://<cluster>                    signs, for ten years
//!   n1.crt      spiffe://<cluster>/node/<NodeId>      clientAuth, serverAuth
//!   app.crt     spiffe://<cluster>/client/app         clientAuth
//!   ops.crt     spiffe://<cluster>/admin/ops          clientAuth
//! ```
//!
//! The identity is the one URI in the certificate's subject alternative name, as SPIFFE has it. Common names, DNS names
//! and addresses mean nothing here: a node keeps its identity when it moves, and no name service has to be trusted.
//!
//! A handshake answers "who is this?" and no more. Whether a node is on the roster, and what a role may ask for, is
//! decided per frame by those who know the roster.
//!
//! | module | noun |
//! |---|---|
//! | [`identity`] | the URI, parsed |
//! | [`moment`] | wall-clock seconds, validity |
//! | [`pem`] | files: reading, modes, never overwriting |
//! | [`authority`] | makes and loads the authority, issues leaves |
//! | [`credentials`] | what one process shows: chain, key, roots, all checked when loaded |
//! | [`verifier`] | judges what a peer shows |
//! | [`revocation`] | the authority's list of what it took back |
//! | [`description`] | what certificates say, for people |
//! | [`current`] | credentials that are renewed while the process runs |
//! | [`tls`] | rustls and quinn configurations |
//!
//! *Caveats.* Keeping a node out is the roster's business; lists of revoked certificates are optional. webpki does not
//! look at the dates of a trust anchor, so an expired authority goes on verifying; because [`authority`] never issues a
//! leaf that outlives it, its last leaf dies with it.

pub mod authority;
mod chain;
pub mod credentials;
pub mod current;
pub mod description;
pub mod identity;
pub mod moment;
pub mod pem;
mod provider;
pub mod revocation;
pub mod tls;
pub mod verifier;

pub use authority::{Authority, AuthorityError, Leaf};
pub use credentials::{CredentialFiles, Credentials, CredentialsError};
pub use current::{CurrentCredentials, Renewals};
pub use identity::{Identity, IdentityError, Role};
pub use moment::{Moment, Validity};
pub use pem::PemError;
pub use tls::{TlsError, chain_identity, peer_identity};
pub use verifier::{Expected, PeerError};
