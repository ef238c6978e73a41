-- The code that a program at a terminal shows, by which its person finds the login in any browser.
ALTER TABLE logins ADD COLUMN user_code TEXT;
CREATE UNIQUE INDEX logins_user_code ON logins (user_code);
