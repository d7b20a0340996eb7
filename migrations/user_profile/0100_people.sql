-- People of this region: who they are, where they live, what they agreed to, and sign-ups on their way.
--
-- Every table with personal data has `residency_region`. The service's migration adds to each of them a check that the
-- value is this region's own, so that a row of another region cannot be imported, whatever the code does.

CREATE TABLE users (
    -- Equals the subject of the person's tokens; given by the identity provider.
    user_id          UUID         CONSTRAINT users_pkey PRIMARY KEY,
    first_name       VARCHAR(50)  NOT NULL,
    residency_region VARCHAR(10)  NOT NULL,
    -- In UTC; the type is given by the requirements.
    created_at       TIMESTAMP    NOT NULL,
    last_name        VARCHAR(50)  NOT NULL,
    -- Lower case. Not unique here: the identity provider owns that rule, and a second guard would strand a person whose
    -- identity was replaced by an operator.
    email            VARCHAR(254) NOT NULL,
    language         VARCHAR(8)   NOT NULL,
    -- Counts changes of the profile; clients see it as ETag.
    version          BIGINT       NOT NULL DEFAULT 1,
    -- Counts changes of the address list, which has its own ETag so that the two do not disturb each other.
    addresses_version BIGINT      NOT NULL DEFAULT 1,
    updated_at       TIMESTAMPTZ  NOT NULL,
    CONSTRAINT users_version_positive CHECK (version >= 1 AND addresses_version >= 1),
    CONSTRAINT users_first_name_given CHECK (first_name <> ''),
    CONSTRAINT users_last_name_given CHECK (last_name <> '')
);

-- Each row says everything the person agreed to from `changed_at` on. Rows are only ever added: the history is the proof.
CREATE TABLE consents (
    user_id          UUID         NOT NULL CONSTRAINT consents_user_fkey REFERENCES users (user_id),
    version          BIGINT       NOT NULL,
    personalisation  BOOLEAN      NOT NULL,
    marketing        BOOLEAN      NOT NULL,
    changed_at       TIMESTAMPTZ  NOT NULL,
    residency_region VARCHAR(10)  NOT NULL,
    CONSTRAINT consents_pkey PRIMARY KEY (user_id, version),
    CONSTRAINT consents_version_positive CHECK (version >= 1)
);

CREATE TABLE addresses (
    user_id          UUID         NOT NULL CONSTRAINT addresses_user_fkey REFERENCES users (user_id),
    -- Place in the person's list, from 0; the first one is offered first at checkout.
    position         SMALLINT     NOT NULL,
    recipient        VARCHAR(100) NOT NULL,
    line1            VARCHAR(100) NOT NULL,
    line2            VARCHAR(100),
    postal_code      VARCHAR(16)  NOT NULL,
    city             VARCHAR(100) NOT NULL,
    -- ISO 3166-1 alpha-2.
    country          CHAR(2)      NOT NULL,
    residency_region VARCHAR(10)  NOT NULL,
    CONSTRAINT addresses_pkey PRIMARY KEY (user_id, position),
    CONSTRAINT addresses_at_most_ten CHECK (position BETWEEN 0 AND 9)
);

-- A sign-up reaches into two systems, so its intent is committed before the first of them is touched. It names nobody: the
-- identity provider holds what is needed to finish it, found by `sign_up_id`.
CREATE TABLE sign_ups (
    sign_up_id       UUID         CONSTRAINT sign_ups_pkey PRIMARY KEY,
    state            VARCHAR(16)  NOT NULL CONSTRAINT sign_ups_state_known CHECK (state IN ('open', 'done', 'refused', 'abandoned')),
    -- Set when done.
    user_id          UUID,
    -- How often the reconciler looked for the identity in vain.
    looks            SMALLINT     NOT NULL DEFAULT 0,
    next_look_at     TIMESTAMPTZ  NOT NULL,
    created_at       TIMESTAMPTZ  NOT NULL,
    closed_at        TIMESTAMPTZ,
    residency_region VARCHAR(10)  NOT NULL,
    CONSTRAINT sign_ups_done_names_user CHECK ((state = 'done') = (user_id IS NOT NULL)),
    CONSTRAINT sign_ups_closed_has_time CHECK ((state = 'open') = (closed_at IS NULL))
);

-- The reconciler asks for the oldest open ones; nearly all rows are closed.
CREATE INDEX sign_ups_to_look_at ON sign_ups (next_look_at) WHERE state = 'open';

-- What the service may do, and no more: consents are never changed or deleted, people are never deleted by it.
GRANT SELECT, INSERT, UPDATE ON users TO user_profile_app;
-- Closed sign-ups are pruned after a month.
GRANT SELECT, INSERT, UPDATE, DELETE ON sign_ups TO user_profile_app;
GRANT SELECT, INSERT ON consents TO user_profile_app;
GRANT SELECT, INSERT, DELETE ON addresses TO user_profile_app;
