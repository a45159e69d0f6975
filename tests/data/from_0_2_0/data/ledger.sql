CREATE TABLE link (
            project     INTEGER NOT NULL REFERENCES project,
            external_id TEXT NOT NULL,
            link        TEXT NOT NULL,
            issued_at   TEXT NOT NULL,
            handed_out  TEXT, issued_by INTEGER REFERENCES run, handed_by INTEGER REFERENCES run, check_value INTEGER,
            PRIMARY KEY (project, external_id)
        ) WITHOUT ROWID
        ;
INSERT INTO "link" VALUES(1,'100001','https://app.healthex.invalid/#/patient-consent/demo-project/enrollment/link?xid=100001.ovdKv59OpqiGtjBuPX8kX1jP530Oadalhamv6zQwr8g','2026-11-28T19:30:46+00:00','2026-11-28T19:30:47+00:00',1,1,914631811);
INSERT INTO "link" VALUES(1,'100002','https://app.healthex.invalid/#/patient-consent/demo-project/enrollment/link?xid=100002.AW0E16dXe9q3OgM_MglEFIq2G9CaSBEwg26LmGiZR_w','2026-11-28T19:30:46+00:00','2026-11-28T19:30:47+00:00',1,1,618294793);
INSERT INTO "link" VALUES(1,'100003','https://app.healthex.invalid/#/patient-consent/demo-project/enrollment/link?xid=100003.FwdsdFa5sFQvDnmHlF_KOkPifuFT6URO9-7kEQUsCLg','2026-11-28T19:30:46+00:00','2026-11-28T19:30:47+00:00',1,1,4017145863);
INSERT INTO "link" VALUES(1,'100010','https://app.healthex.invalid/#/patient-consent/demo-project/enrollment/link?xid=100010.Wz_mKJupw0Bh12qw4Nz_Z4WOPdHNV47dr2hP02mssXA','2026-11-28T19:30:57+00:00','2026-11-28T19:30:57+00:00',2,2,1721744929);
INSERT INTO "link" VALUES(1,'100011','https://app.healthex.invalid/#/patient-consent/demo-project/enrollment/link?xid=100011.3yS4ypPRWa6Th3cpvNf9QgZuvuQFDm3opfdYnHLYOws','2026-11-28T19:30:57+00:00','2026-11-28T19:30:57+00:00',2,2,1994459712);
INSERT INTO "link" VALUES(1,'100020','https://app.healthex.invalid/#/patient-consent/demo-project/enrollment/link?xid=100020.yiUmaa2wrKKebgJxnohfDC1aDUOjmKHnumOYbAr4KTA','2026-11-28T19:31:04+00:00','2026-11-28T19:31:46+00:00',3,3,4244344762);
INSERT INTO "link" VALUES(1,'100030','https://app.healthex.invalid/#/patient-consent/demo-project/enrollment/link?xid=100030.QndqOBCGqNrQ7GSF4SSAe-xt93QZlfFw8s8u1NQCRIE','2026-11-28T19:32:04+00:00','2026-11-28T19:32:04+00:00',4,4,1955031311);
INSERT INTO "link" VALUES(1,'100031','https://app.healthex.invalid/#/patient-consent/demo-project/enrollment/link?xid=100031.kKT8PHsv0KlDTseE3b1wezwhwSBozdG7bH_jOQ2oQ4Y','2026-11-28T19:32:04+00:00','2026-11-28T19:32:04+00:00',4,4,3844219910);
CREATE TABLE migration (version INTEGER PRIMARY KEY, step TEXT, at TEXT);
INSERT INTO "migration" VALUES(1,'first_tables','2026-11-28T19:30:45+00:00');
INSERT INTO "migration" VALUES(2,'runs_and_check_values','2026-11-28T19:30:45+00:00');
CREATE TABLE project (
            number      INTEGER PRIMARY KEY,
            api         TEXT NOT NULL,
            project_id  TEXT NOT NULL, check_value INTEGER,
            UNIQUE (api, project_id)
        );
INSERT INTO "project" VALUES(1,'http://healthex.invalid','demo-project',996249427);
CREATE TABLE run (
            number      INTEGER PRIMARY KEY,
            run_id      TEXT NOT NULL UNIQUE,
            project     INTEGER NOT NULL REFERENCES project,
            owner       TEXT NOT NULL,     -- whose results: the digest of roster and project
            refresh     INTEGER NOT NULL,  -- whether it asked again for links that were known
            started_at  TEXT NOT NULL,
            settled_by  INTEGER            -- the run in which all that it had to ask was answered and handed out
        );
INSERT INTO "run" VALUES(1,'98802d323707',1,'f8d66f71ff5c885332b01ffdafa30ea44529b1785cf351c9f5f15832e33623ec',0,'2026-11-28T19:30:45+00:00',1);
INSERT INTO "run" VALUES(2,'e8d8e1bdd8bb',1,'674385d6f60e04087967e3accbf206498583c290ab0231369323d23789c33633',0,'2026-11-28T19:30:55+00:00',2);
INSERT INTO "run" VALUES(3,'188d526fb589',1,'17bd23388d26ee75b30aef685d61c691af9e1ba23f2169557450d8c1039a5eb0',0,'2026-11-28T19:31:02+00:00',3);
INSERT INTO "run" VALUES(4,'d6a395fb7923',1,'0dc4211b6005e74a8aaac871ea22b7ed4ece5dec97252446b2d60e94bc332e86',0,'2026-11-28T19:32:03+00:00',4);
CREATE TABLE withdrawal (
            external_id  TEXT NOT NULL,
            project      INTEGER NOT NULL,  -- 0: every project, also those to come
            withdrawn_at TEXT NOT NULL,
            check_value  INTEGER NOT NULL,
            PRIMARY KEY (external_id, project)
        ) WITHOUT ROWID
        ;
INSERT INTO "withdrawal" VALUES('100003',0,'2026-11-28T19:30:51+00:00',2056387991);
CREATE INDEX unsettled_run ON run (project, owner) WHERE settled_by IS NULL;
PRAGMA application_id = 1819175795;
PRAGMA user_version = 2;
