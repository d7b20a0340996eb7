-- What can happen during a COMMIT, by the name of the mark.
CREATE FUNCTION at_commit() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.name LIKE 'warned%' THEN
        RAISE WARNING 'said during a commit';
    ELSIF NEW.name LIKE 'undone%' THEN
        RAISE EXCEPTION 'refused at commit' USING ERRCODE = 'check_violation';
    ELSIF NEW.name LIKE 'cut%' THEN
        PERFORM pg_terminate_backend(pg_backend_pid());
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER at_commit AFTER INSERT ON marks DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION at_commit();
